"""The Google Cloud KMS signer against a gRPC server in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tsa_backends.gcp_kms import KEY_KINDS, GcpKms, write_service_account
from tsa_backends.relayed import RelayedSignerContract
from tsa_backends.server_contract import Deployment, RotatingServerContract
from tsa_core.api import Signer
from tsa_core.testing import ProviderContract, Relay, new_key, shared_key
from tsa_signer_gcpkms import plugin as plugin_module
from tsa_signer_gcpkms.options import GcpKmsOptions

ALGORITHMS = [name for name in KEY_KINDS if "SIGN" in name and "RAW" not in name]


@pytest.fixture(scope="module", params=ALGORITHMS)
def algorithm(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def version(algorithm: str, gcp_kms: GcpKms) -> str:
    return gcp_kms.make_key(f"contract-{algorithm}", algorithm)


@pytest.fixture(scope="module")
def short_lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcpKms]:
    """A server of this module's own, to be killed and started again."""
    server = GcpKms(tmp_path_factory.mktemp("gcp_kms"))
    server.start()
    yield server
    server.kill()


def open_signer(server: GcpKms, version: str, *, endpoint: str = "") -> Signer:
    (provider,) = plugin_module.tsa_signers()
    return provider.open(GcpKmsOptions(uri=f"gcpkms://{version}", endpoint=endpoint or server.address, plaintext=True))


class TestProvider(ProviderContract):
    kind = "signer"

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return plugin_module

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {"endpoint": "europe-west1-cloudkms.example.org:443", "start_timeout": "5s"}


class TestSigner(RelayedSignerContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return plugin_module

    @pytest.fixture
    def uri(self, version: str) -> str:
        return f"gcpkms://{version}"

    @pytest.fixture
    def fixed_options(self, uri: str, algorithm: str) -> Mapping[str, Any]:
        return {"uri": uri, "rsa_pss": "_PSS_" in algorithm}

    @pytest.fixture
    def options(self, gcp_kms: GcpKms) -> Mapping[str, Any]:
        return {"endpoint": gcp_kms.address, "plaintext": True}

    @pytest.fixture
    def unreachable_signer(self, short_lived: GcpKms) -> Iterator[Signer]:
        short_lived.kill()
        short_lived.start()
        signer = open_signer(short_lived, short_lived.make_key("gone"))
        short_lived.kill()
        yield signer
        signer.close()

    @pytest.fixture
    def backend_port(self, gcp_kms: GcpKms) -> int:
        return gcp_kms.port

    @pytest.fixture
    def relayed(self, gcp_kms: GcpKms, relay: Relay) -> Iterator[Signer]:
        signer = open_signer(gcp_kms, gcp_kms.make_key("relayed"), endpoint=f"127.0.0.1:{relay.port}")
        yield signer
        signer.close()


class TestServer(RotatingServerContract):
    """Over TLS, with a service account: the way it is deployed."""

    @pytest.fixture
    def deployment(self, tmp_path: Path) -> Iterator[Deployment]:
        server = GcpKms(tmp_path, tls=True)
        server.start()
        version = server.make_key("tsa")
        secret = write_service_account(tmp_path / "account.json")
        key, _, number = version.rpartition("/cryptoKeyVersions/")

        def rotate() -> None:
            server.make_key("tsa", new_key=new_key())

        yield Deployment(
            uri=f"gcpkms://{key}",
            environment={
                "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "account.json"),
                "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(server.ca_file),
                "TSA_SIGNER__GCPKMS__ENDPOINT": server.address,
            },
            public_key=shared_key("ecdsa-p256").public_key(),
            start=server.start,
            kill=server.kill,
            freeze=server.freeze,
            thaw=server.thaw,
            rotate=rotate,
            impatient={"TSA_SIGNER__GCPKMS__START_TIMEOUT": "1s"},
            disable=lambda: server.set_state(version, "DISABLED"),
            enable=lambda: server.set_state(version, "ENABLED"),
            facts=[f"key\t{key}, EC secp256r1 (EC_SIGN_P256_SHA256)", f"version\t{number}"],
            secrets=[secret, "Bearer"],
        )
        server.kill()
        tokens = {metadata.get("authorization", "") for _, _, metadata in server.calls}
        assert not tokens or all(token.startswith("Bearer ey") for token in tokens)
