"""The Tink signer fulfils the contracts, with every kind of key and a KEK in each KMS."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import tink
from tink import secret_key_access
from tink.proto import tink_pb2

from tsa_backends.tink_keks import Kek
from tsa_core.testing import ProviderContract, SignerContract
from tsa_signer_tink import keys
from tsa_signer_tink import plugin as plugin_module

TEMPLATES = [
    "ECDSA_P256",
    "ECDSA_P256_RAW",
    "ECDSA_P384_SHA384",
    "ECDSA_P521",
    "ED25519",
    "ML_DSA_65",
    "RSA_SSA_PKCS1_3072_SHA256_F4",
    "RSA_SSA_PSS_3072_SHA256_SHA256_32_F4",
]
CASES = [
    *(("vault", template, False) for template in TEMPLATES),
    ("vault", "ECDSA_P256", True),
    ("aws", "ECDSA_P384_SHA384", False),
    ("gcp", "RSA_SSA_PKCS1_4096_SHA512_F4", True),
]


class Keyset(NamedTuple):
    path: Path
    kek: Kek
    pss: bool
    secrets: list[str]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(map(str, case)))
def keyset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Keyset:
    server, template, binary = request.param
    kek: Kek = request.getfixturevalue(server)
    path = tmp_path_factory.mktemp("keyset") / "enc-keyset.cfg"
    handle = kek.write_keyset(path, template, binary=binary)
    proto = tink_pb2.Keyset.FromString(tink.proto_keyset_format.serialize(handle, secret_key_access.TOKEN))
    value: bytes = proto.key[0].key_data.value
    secrets = [value.hex(), str(value), *(str(value[i : i + 16])[2:-1] for i in range(0, len(value) - 15, 16))]
    return Keyset(path, kek, "_PSS_" in template, secrets)


@pytest.fixture(scope="module", autouse=True)
def each_rsa_key_is_checked_once() -> Iterator[None]:
    """Hundreds of tests open the same keys, and to check that the parts of an RSA key fit takes a third of a second."""
    made: dict[bytes, Any] = {}
    make = keys._rsa

    def once(proto: Any) -> Any:
        octets = proto.SerializeToString(deterministic=True)
        if octets not in made:
            made[octets] = make(proto)
        return made[octets]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "_rsa", once)
        yield


class TestProvider(ProviderContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return plugin_module

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {
            "keyset_path": "/etc/tsa/enc-keyset.cfg",
            "key_resource": "hcvault://vault.example.org:8200/transit/keys/tsa",
            "hcvault_token": "hvs.a-token",
            "start_timeout": "5s",
        }


class TestSigner(SignerContract):
    has_backend = False

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return plugin_module

    @pytest.fixture
    def uri(self, keyset: Keyset) -> str:
        return f"tink:{keyset.path}"

    @pytest.fixture
    def fixed_options(self, uri: str, keyset: Keyset) -> Mapping[str, Any]:
        return {"uri": uri, "rsa_pss": keyset.pss}

    @pytest.fixture
    def options(self, keyset: Keyset) -> Mapping[str, Any]:
        return {"key_resource": keyset.kek.uri, **keyset.kek.settings}

    @pytest.fixture
    def secrets(self, keyset: Keyset) -> list[str]:
        return [*keyset.secrets, str(keyset.kek.settings.get("hcvault_token", ""))]

    def test_nothing_is_logged_of_the_key_even_at_debug(
        self, open_signer: Any, secrets: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        signer = open_signer()
        signer.sign(b"message", timeout=5)
        shown = f"{caplog.text} {signer!r} {vars(signer)}"
        assert not [secret for secret in secrets if secret and secret in shown]
