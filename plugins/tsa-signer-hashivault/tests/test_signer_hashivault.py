"""The transit signer against a real OpenBao."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import pytest

from tsa_backends.openbao import ROOT_TOKEN, OpenBao
from tsa_backends.relayed import RelayedSignerContract
from tsa_backends.server_contract import Deployment, RotatingServerContract
from tsa_core.api import Signer
from tsa_core.testing import ProviderContract, Relay
from tsa_signer_hashivault import plugin as plugin_module
from tsa_signer_hashivault.options import TransitOptions

KINDS = ["ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048", "rsa-3072", "rsa-4096", "ed25519"]


@pytest.fixture(scope="module", params=KINDS)
def key(request: pytest.FixtureRequest, openbao: OpenBao) -> str:
    return openbao.make_key(f"contract-{request.param}", request.param)


@pytest.fixture(scope="module")
def short_lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A server of this module's own, to be killed and started again."""
    server = OpenBao(tmp_path_factory.mktemp("openbao"))
    server.start()
    yield server
    server.process.kill()


def open_signer(server: OpenBao, key: str, **options: Any) -> Signer:
    (provider,) = (p for p in plugin_module.tsa_signers() if p.name == "openbao")
    defaults = {"uri": f"openbao://{key}", "address": server.address, "token": ROOT_TOKEN}
    return provider.open(TransitOptions.model_validate({**defaults, **options}))


class TestVaultProvider(ProviderContract):
    kind = "signer"
    provider_name = "hashivault"

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return plugin_module

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {"address": "https://vault.example.org:8200", "token": "hvs.a-token"}


class TestOpenBaoProvider(TestVaultProvider):
    provider_name = "openbao"

    @pytest.fixture
    def distribution_name(self) -> str:
        return "tsa-signer-hashivault"


class TestSigner(RelayedSignerContract):
    provider_name = "openbao"

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return plugin_module

    @pytest.fixture
    def uri(self, key: str) -> str:
        return f"openbao://{key}"

    @pytest.fixture
    def options(self, openbao: OpenBao) -> Mapping[str, Any]:
        return {"address": openbao.address, "token": ROOT_TOKEN}

    @pytest.fixture
    def unreachable_signer(self, short_lived: OpenBao) -> Iterator[Signer]:
        short_lived.start_if_down()
        signer = open_signer(short_lived, short_lived.make_key("gone"))
        short_lived.process.kill()
        yield signer
        signer.close()

    @pytest.fixture
    def backend_port(self, openbao: OpenBao) -> int:
        return openbao.port

    @pytest.fixture
    def relayed(self, openbao: OpenBao, relay: Relay) -> Iterator[Signer]:
        signer = open_signer(openbao, openbao.make_key("relayed"), address=relay.url)
        yield signer
        signer.close()


class TestServer(RotatingServerContract):
    @pytest.fixture
    def deployment(self, short_lived: OpenBao) -> Deployment:
        short_lived.process.kill()
        short_lived.start()
        key = short_lived.make_key("tsa", exportable=True, allow_plaintext_backup=True)
        short_lived.keep(key)
        signer = open_signer(short_lived, key)
        signer.close()

        def rotate() -> None:
            short_lived.call("POST", f"transit/keys/{key}/rotate", {})

        def disable() -> None:
            rotate()
            short_lived.call("POST", f"transit/keys/{key}/config", {"min_encryption_version": 2})

        return Deployment(
            uri=f"hashivault://{key}",
            environment={"VAULT_ADDR": short_lived.address, "VAULT_TOKEN": ROOT_TOKEN},
            public_key=signer.public_key,
            start=short_lived.start,
            kill=short_lived.process.kill,
            freeze=lambda: short_lived.process.signal(signal.SIGSTOP),
            thaw=lambda: short_lived.process.signal(signal.SIGCONT),
            rotate=rotate,
            impatient={"TSA_SIGNER__HASHIVAULT__START_TIMEOUT": "1s"},
            disable=disable,
            enable=lambda: short_lived.call("POST", f"transit/keys/{key}/config", {"min_encryption_version": 0}),
            facts=["key\ttransit/keys/tsa, EC secp256r1", "version\t1"],
            secrets=[ROOT_TOKEN],
        )
