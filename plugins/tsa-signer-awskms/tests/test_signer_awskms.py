"""The AWS KMS signer against ministack."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import pytest

from tsa_backends.ministack import AWS_ENVIRONMENT, SECRET_KEY, Ministack
from tsa_backends.relayed import RelayedSignerContract
from tsa_backends.server_contract import Deployment, RotatingServerContract
from tsa_core.api import Signer
from tsa_core.testing import ProviderContract, Relay
from tsa_signer_awskms import plugin as plugin_module
from tsa_signer_awskms.options import AwsKmsOptions

SPECS = [
    "ECC_NIST_P256",
    "ECC_NIST_P384",
    "ECC_NIST_P521",
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "ECC_NIST_EDWARDS25519",
]


@pytest.fixture(scope="module", params=SPECS)
def key(request: pytest.FixtureRequest, ministack: Ministack) -> str:
    return ministack.make_key(request.param)


@pytest.fixture(scope="module")
def short_lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ministack]:
    """An emulator of this module's own, to be killed and started again."""
    server = Ministack(tmp_path_factory.mktemp("ministack"))
    server.start()
    yield server
    server.process.kill()


@pytest.fixture(scope="module")
def kept(short_lived: Ministack) -> tuple[str, str]:
    """Return the ARN of a key, and its alias, that outlive the emulator's process."""
    short_lived.start_if_down()
    arn = short_lived.make_key(alias="alias/tsa")
    # Only an orderly end makes the emulator keep its keys; after it they survive any other.
    short_lived.process.stop()
    return arn, "alias/tsa"


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in AWS_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def open_signer(server: Ministack, key: str, *, address: str = "") -> Signer:
    (provider,) = plugin_module.tsa_signers()
    return provider.open(AwsKmsOptions(uri=f"awskms:///{key}", endpoint_url=address or server.address))


class TestProvider(ProviderContract):
    kind = "signer"

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return plugin_module

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {"region": "eu-west-1", "aws_profile": "tsa"}


class TestSigner(RelayedSignerContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return plugin_module

    @pytest.fixture
    def uri(self, key: str) -> str:
        return f"awskms:///{key}"

    @pytest.fixture
    def options(self, ministack: Ministack) -> Mapping[str, Any]:
        return {"endpoint_url": ministack.address}

    @pytest.fixture
    def secrets(self) -> list[str]:
        return [SECRET_KEY]

    @pytest.fixture
    def unreachable_signer(self, short_lived: Ministack) -> Iterator[Signer]:
        short_lived.start_if_down()
        signer = open_signer(short_lived, short_lived.make_key())
        short_lived.process.kill()
        yield signer
        signer.close()

    @pytest.fixture
    def backend_port(self, ministack: Ministack) -> int:
        return ministack.port

    @pytest.fixture
    def relayed(self, ministack: Ministack, relay: Relay) -> Iterator[Signer]:
        signer = open_signer(ministack, ministack.make_key(), address=relay.url)
        yield signer
        signer.close()


class TestServer(RotatingServerContract):
    keeps_versions = False

    @pytest.fixture
    def deployment(self, short_lived: Ministack, kept: tuple[str, str]) -> Deployment:
        arn, alias = kept
        short_lived.start_if_down()
        client = short_lived.client()
        client.enable_key(KeyId=arn)
        client.update_alias(AliasName=alias, TargetKeyId=arn)
        signer = open_signer(short_lived, arn)
        signer.close()
        return Deployment(
            uri=f"awskms:///{alias}",
            environment={**AWS_ENVIRONMENT, "AWS_ENDPOINT_URL_KMS": short_lived.address},
            public_key=signer.public_key,
            start=short_lived.start,
            kill=short_lived.process.kill,
            freeze=lambda: short_lived.process.signal(signal.SIGSTOP),
            thaw=lambda: short_lived.process.signal(signal.SIGCONT),
            rotate=lambda: client.update_alias(AliasName=alias, TargetKeyId=short_lived.make_key()),
            impatient={"TSA_SIGNER__AWSKMS__START_TIMEOUT": "1s"},
            disable=lambda: client.disable_key(KeyId=arn),
            enable=lambda: client.enable_key(KeyId=arn),
            facts=[f"key\t{arn}, EC secp256r1 (ECC_NIST_P256)", "version\tthe only one"],
            secrets=[SECRET_KEY],
        )
