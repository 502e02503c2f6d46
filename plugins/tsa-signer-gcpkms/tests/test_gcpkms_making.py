"""The Google Cloud KMS signer makes keys, and waits until they can sign."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import grpc
import pytest
from google.cloud import kms

from tsa_backends.gcp_kms import KEY_RING, GcpKms
from tsa_core.api import ConfigError, SignerError, SignerUnavailable
from tsa_core.testing import KeyMakingContract, ends_within
from tsa_signer_gcpkms import making
from tsa_signer_gcpkms import plugin as plugin_module
from tsa_signer_gcpkms.making import make_key
from tsa_signer_gcpkms.options import GcpKmsOptions

States = kms.CryptoKeyVersion.CryptoKeyVersionState


class TestKeyMaking(KeyMakingContract):
    kinds = ("ecdsa-p256", "ecdsa-p384", "rsa-2048", "ed25519", "ml-dsa-65")

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return plugin_module

    @pytest.fixture
    def options(self, gcp_kms: GcpKms) -> Mapping[str, Any]:
        return {"endpoint": gcp_kms.address, "plaintext": True}

    @pytest.fixture
    def new_uri(self) -> str:
        return f"gcpkms://{new_key()}"


def new_key() -> str:
    return f"{KEY_RING}/cryptoKeys/made-{uuid.uuid4().hex}"


def make(server: GcpKms, key: str, kind: str = "ecdsa-p256", **more: Any) -> None:
    table = {"uri": f"gcpkms://{key}", "endpoint": server.address, "plaintext": True, **more}
    make_key(GcpKmsOptions.model_validate(table), kind)


def asked(server: GcpKms, key: str) -> Any:
    """Return the one request that created a key."""
    identifier = key.rpartition("/")[2]
    [request] = [m for name, m, _ in server.calls if name == "CreateCryptoKey" and m.crypto_key_id == identifier]
    return request


@pytest.fixture
def generating(gcp_kms: GcpKms) -> Iterator[GcpKms]:
    gcp_kms.generation_looks = 10**6
    yield gcp_kms
    gcp_kms.generation_looks = 1


def test_keys_are_made_in_a_module_unless_the_settings_say_otherwise(gcp_kms: GcpKms) -> None:
    for more, level in (({}, "HSM"), ({"new_keys": "software"}, "SOFTWARE")):
        key = new_key()
        make(gcp_kms, key, **more)
        request = asked(gcp_kms, key)
        assert request.crypto_key.version_template.protection_level.name == level
        assert request.crypto_key.purpose.name == "ASYMMETRIC_SIGN"


def test_a_key_fits_the_profile_that_names_it(gcp_kms: GcpKms) -> None:
    key = new_key()
    make(gcp_kms, key, "rsa-4096", rsa_pss=True, signature_digest="sha512")
    assert asked(gcp_kms, key).crypto_key.version_template.algorithm.name == "RSA_SIGN_PSS_4096_SHA512"


@pytest.mark.parametrize(
    ("kind", "more", "said"),
    [
        ("ecdsa-p521", {}, "Google KMS has no keys of the kind ecdsa-p521"),
        ("ecdsa-p256", {"signature_digest": "sha512"}, "would not fit the profile"),
        ("ecdsa-p256", {"rsa_pss": True}, "would not fit the profile"),
        ("rsa-2048", {"signature_digest": "sha384"}, "would not fit the profile"),
        ("ecdsa-p256", {"uri": f"gcpkms://{KEY_RING}/cryptoKeys/k/cryptoKeyVersions/1"}, "without a version"),
        ("ecdsa-p256", {"uri": f"gcpkms://{KEY_RING}/cryptoKeys/{'k' * 64}"}, "63 at most"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is_sent(
    gcp_kms: GcpKms, kind: str, more: dict[str, Any], said: str
) -> None:
    before = len(gcp_kms.calls)
    with pytest.raises(ConfigError, match=said):
        make(gcp_kms, new_key(), kind, **more)
    assert len(gcp_kms.calls) == before


def test_a_version_that_is_never_ready_is_given_up_and_the_key_is_told(
    generating: GcpKms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "_GENERATION_SECONDS", 0.3)
    with ends_within(60), pytest.raises(SignerError, match=r"^the key was made, but .*/1 is not ready yet; hold the"):
        make(generating, new_key())


def test_a_version_that_could_not_be_generated_is_told(gcp_kms: GcpKms) -> None:
    def fail(version: Any) -> None:
        version.state, version.generation_failure_reason = States.GENERATION_FAILED, "the module is full"

    with (
        gcp_kms.changing("GetCryptoKeyVersion", fail),
        pytest.raises(SignerError, match="is GENERATION_FAILED: the module is full"),
    ):
        make(gcp_kms, new_key())


def test_a_key_that_cannot_be_looked_at_was_made_all_the_same(gcp_kms: GcpKms) -> None:
    gcp_kms.fail("GetCryptoKeyVersion", grpc.StatusCode.PERMISSION_DENIED)
    said = r"^the key was made, but .* cannot be looked at: .* needs cloudkms\.cryptoKeyVersions\.get on this key$"
    with pytest.raises(SignerError, match=said):
        make(gcp_kms, new_key())


def test_creation_is_asked_for_once(gcp_kms: GcpKms) -> None:
    """What has no answer may have been done."""
    key = new_key()
    gcp_kms.fail("CreateCryptoKey", grpc.StatusCode.UNAVAILABLE)
    with pytest.raises(SignerUnavailable):
        make(gcp_kms, key)
    assert asked(gcp_kms, key).parent == KEY_RING


def test_who_may_not_create_keys_is_told_what_is_missing(gcp_kms: GcpKms) -> None:
    gcp_kms.fail("CreateCryptoKey", grpc.StatusCode.PERMISSION_DENIED)
    with pytest.raises(SignerError, match=r"the identity needs cloudkms\.cryptoKeys\.create on this key ring$"):
        make(gcp_kms, new_key())


def test_a_location_without_modules_is_told_what_to_set(gcp_kms: GcpKms) -> None:
    gcp_kms.fail("CreateCryptoKey", grpc.StatusCode.INVALID_ARGUMENT, "HSM is not available here")
    with pytest.raises(SignerError, match='new_keys = "software"'):
        make(gcp_kms, new_key(), "ed25519")
