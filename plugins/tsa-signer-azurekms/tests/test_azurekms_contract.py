"""The Azure signer fulfils the contracts with every kind of key, over HTTPS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import pytest

from tsa_backends.key_vault import CLIENT_ID, CLIENT_SECRET, TENANT, TOKEN_MARK, KeyVault
from tsa_backends.relayed import RelayedSignerContract
from tsa_backends.server_contract import Deployment, RotatingServerContract
from tsa_core.api import Signer
from tsa_core.testing import ProviderContract, Relay
from tsa_signer_azurekms import plugin as azure_plugin

KINDS = ("ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048", "rsa-3072", "rsa-4096")


class TestAzureProvider(ProviderContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return azure_plugin

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {"tenant_id": TENANT, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}


class TestAzureSigner(RelayedSignerContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return azure_plugin

    @pytest.fixture(params=KINDS)
    def uri(self, request: pytest.FixtureRequest, key_vault: KeyVault) -> str:
        key_vault.make_key("tsa", request.param)
        return f"azurekms://{key_vault.host}/tsa"

    @pytest.fixture
    def options(self, key_vault: KeyVault) -> Mapping[str, Any]:
        return {
            "tenant_id": TENANT,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "authority": key_vault.url,
            "ca_file": str(key_vault.ca_file),
            "disable_instance_discovery": True,
            "verify_challenge_resource": False,
        }

    @pytest.fixture
    def secrets(self) -> list[str]:
        return [CLIENT_SECRET, TOKEN_MARK]

    @pytest.fixture
    def unreachable_signer(self, open_signer: Callable[..., Signer], key_vault: KeyVault) -> Signer:
        signer = open_signer()
        signer.sign(b"while it is there", timeout=self.sign_timeout)
        key_vault.kill()
        return signer

    @pytest.fixture
    def backend_port(self, key_vault: KeyVault) -> int:
        return key_vault.port

    @pytest.fixture
    def relayed(self, open_signer: Callable[..., Signer], key_vault: KeyVault, relay: Relay) -> Signer:
        key_vault.make_key("relayed", "ecdsa-p256")
        return open_signer(uri=f"azurekms://127.0.0.1:{relay.port}/relayed")


class TestAzureServer(RotatingServerContract):
    @pytest.fixture(params=["ecdsa-p384"])
    def deployment(self, request: pytest.FixtureRequest, key_vault: KeyVault) -> Deployment:
        key = key_vault.make_key("tsa", request.param)
        version = key_vault.keys["tsa"][f"{1:032x}"]

        def rotate() -> None:
            key_vault.make_key("tsa", request.param, fresh=True)
            # To find the certified version is the only thing that needs it.
            key_vault.permissions.add("list")

        return Deployment(
            uri=f"azurekms://{key_vault.host}/tsa",
            environment=key_vault.environment,
            public_key=key.public_key(),
            start=key_vault.start,
            kill=key_vault.kill,
            freeze=key_vault.freeze,
            thaw=key_vault.thaw,
            facts=[f"key\t{key_vault.url}/keys/tsa, ", f"version\t{1:032x}", "credential\tservice principal"],
            secrets=[CLIENT_SECRET, TOKEN_MARK],
            rotate=rotate,
            impatient={"TSA_SIGNER__AZUREKMS__START_TIMEOUT": "1s"},
            disable=lambda: setattr(version, "enabled", False),
            enable=lambda: setattr(version, "enabled", True),
        )
