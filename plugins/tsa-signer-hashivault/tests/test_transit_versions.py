"""Which version of a transit key signs: the one that is certified or configured, whatever is the newest."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tsa_backends.openbao import OpenBao
from tsa_core.api import ConfigError, Signer, SignerError

MESSAGE = b"a message"


def assert_signs(signer: Signer) -> None:
    signature = signer.sign(MESSAGE, timeout=5)
    assert signer.algorithm.is_valid(signer.public_key, signature, MESSAGE)


def test_the_newest_version_is_pinned_when_the_key_is_rotated(
    openbao: OpenBao, open_signer: Callable[..., Signer]
) -> None:
    key = openbao.make_key("rotated")
    first = open_signer(key)
    openbao.call("POST", f"transit/keys/{key}/rotate", {})
    assert_signs(first)
    second = open_signer(key)
    assert_signs(second)
    assert (first.details()["version"], second.details()["version"]) == ("1", "2")
    assert_signs(open_signer(key, key_version=1))


def certified_by(signer: Signer) -> bytes:
    return signer.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("kind", ["ecdsa-p256", "rsa-2048", "ed25519"])
def test_the_version_that_the_certificate_certifies_is_taken_after_a_rotation(
    openbao: OpenBao, open_signer: Callable[..., Signer], kind: str
) -> None:
    key = openbao.make_key(f"certified-{kind}", kind)
    first = open_signer(key)
    openbao.call("POST", f"transit/keys/{key}/rotate", {})
    second = open_signer(key)
    openbao.call("POST", f"transit/keys/{key}/rotate", {})
    for signer, version in ((first, "1"), (second, "2")):
        again = open_signer(key, certified_key=certified_by(signer))
        assert again.details()["version"] == version
        assert again.public_key == signer.public_key
        assert_signs(again)
    # The certificate of a key that is none of these is the chain's rule to refuse.
    other = openbao.make_key(f"certified-other-{kind}", kind)
    assert open_signer(key, certified_key=certified_by(open_signer(other))).details()["version"] == "3"


def test_a_version_that_is_configured_and_not_certified_is_refused_with_the_one_that_is(
    openbao: OpenBao, open_signer: Callable[..., Signer]
) -> None:
    key = openbao.make_key("certified-not")
    first = certified_by(open_signer(key))
    openbao.call("POST", f"transit/keys/{key}/rotate", {})
    with pytest.raises(ConfigError, match=r"^signer.hashivault.key_version: version 2 .* but version 1 is; leave key_"):
        open_signer(key, key_version=2, certified_key=first)
    openbao.call("POST", f"transit/keys/{key}/config", {"min_encryption_version": 2})
    with pytest.raises(ConfigError, match=r"version 1 of the key .*, which the certificate certifies, cannot sign"):
        open_signer(key, certified_key=first)


def test_a_version_that_may_not_sign_is_refused_at_start(openbao: OpenBao, open_signer: Callable[..., Signer]) -> None:
    key = openbao.make_key("versions")
    openbao.call("POST", f"transit/keys/{key}/rotate", {})
    openbao.call("POST", f"transit/keys/{key}/config", {"min_encryption_version": 2})
    for version in (1, 3):
        with pytest.raises(ConfigError, match=rf"version {version} of the key .*it may sign with: 2"):
            open_signer(key, key_version=version)


def test_a_version_that_is_disabled_stops_signing_and_recovers(
    openbao: OpenBao, open_signer: Callable[..., Signer]
) -> None:
    key = openbao.make_key("disabled")
    signer = open_signer(key)
    openbao.call("POST", f"transit/keys/{key}/rotate", {})
    openbao.call("POST", f"transit/keys/{key}/config", {"min_encryption_version": 2})
    with pytest.raises(SignerError, match=r"transit/sign/disabled/sha2-256: .*less than the minimum"):
        signer.sign(MESSAGE, timeout=5)
    openbao.call("POST", f"transit/keys/{key}/config", {"min_encryption_version": 0})
    assert_signs(signer)
