"""Hashes, signature algorithms and their identifiers."""

from __future__ import annotations

import hashlib

import pytest
from asn1crypto import algos
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa, x25519

from tests import pki
from tsa_core.protocol.hashes import (
    DEFAULT_IMPRINT_HASHES,
    IMPRINT_HASHES,
    SHAKE256_512,
    hash_by_name,
)
from tsa_core.protocol.signatures import UnsupportedKey, describe_key, signature_algorithm
from tsa_core.testing import new_key


@pytest.mark.parametrize("name", IMPRINT_HASHES)
def test_hashes_measure_what_they_name(name: str) -> None:
    algorithm = IMPRINT_HASHES[name]
    digest = algorithm.digest(b"abc")
    assert digest == hashlib.new(name.replace("sha3-", "sha3_"), b"abc").digest()
    assert len(digest) == algorithm.digest_size
    parsed = algos.DigestAlgorithmId.load(algorithm.oid_der)
    assert parsed.native.replace("_", "-") == name
    assert algorithm.identifier == bytes((0x30, len(algorithm.oid_der))) + algorithm.oid_der
    fed = algorithm.new()
    fed.update(b"a")
    fed.update(b"bc")
    assert fed.digest() == digest


@pytest.mark.parametrize(
    ("kind", "pss"),
    [("rsa-2048", False), ("rsa-2048", True), ("ecdsa-p256", False), ("ecdsa-p384", False), ("ecdsa-p521", False)],
)
def test_a_digest_is_signed_as_its_message(kind: str, pss: bool) -> None:
    key = new_key(kind)
    algorithm = signature_algorithm(key.public_key(), pss=pss)
    sign = algorithm.digest_signing_function(key)
    assert sign is not None
    signature = sign(algorithm.digest.digest(b"message"))
    assert algorithm.is_valid(key.public_key(), signature, b"message")
    assert not algorithm.is_valid(key.public_key(), signature, b"another")
    with pytest.raises(ValueError, match=r"[Dd]igest"):
        sign(b"no digest")


@pytest.mark.parametrize("kind", ["ed25519", "ed448", "ml-dsa-65"])
def test_schemes_that_take_the_message_sign_no_digest(kind: str) -> None:
    key = new_key(kind)
    assert signature_algorithm(key.public_key()).digest_signing_function(key) is None


def test_shake256_has_512_bits() -> None:
    assert SHAKE256_512.digest(b"abc") == hashlib.shake_256(b"abc").digest(64)
    fed = SHAKE256_512.new(b"a")
    fed.update(b"bc")
    assert fed.digest() == SHAKE256_512.digest(b"abc")
    assert SHAKE256_512.identifier.hex() == "300f060960864801650304021202020200"
    assert SHAKE256_512.digest_size == 64


def test_which_hashes_are_weak() -> None:
    assert {name for name, algorithm in IMPRINT_HASHES.items() if algorithm.weak} == {"md5", "sha1"}
    assert set(DEFAULT_IMPRINT_HASHES) == set(IMPRINT_HASHES) - {"md5", "sha1", "sha224"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("sha256", "sha256"),
        ("SHA-256", "sha256"),
        (" sha_512 ", "sha512"),
        ("sha3-256", "sha3-256"),
        ("SHA3_256", "sha3-256"),
        ("sha3256", "sha3-256"),
        ("sha-1", "sha1"),
        ("MD5", "md5"),
    ],
)
def test_hash_by_name(text: str, name: str) -> None:
    assert hash_by_name(text).name == name


@pytest.mark.parametrize("text", ["", "sha", "sha257", "sha512/256", "sha512-256", "shake256", "sha3"])
def test_hash_by_name_unknown(text: str) -> None:
    with pytest.raises(KeyError):
        hash_by_name(text)


NAMES = {
    "rsa-2048": ("rsa-pkcs1v15-sha256", "RSA 2048"),
    "rsa-3072": ("rsa-pkcs1v15-sha256", "RSA 3072"),
    "rsa-4096": ("rsa-pkcs1v15-sha256", "RSA 4096"),
    "p224": ("ecdsa-sha256", "EC secp224r1"),
    "p256": ("ecdsa-sha256", "EC secp256r1"),
    "p384": ("ecdsa-sha384", "EC secp384r1"),
    "p521": ("ecdsa-sha512", "EC secp521r1"),
    "ed25519": ("ed25519", "Ed25519"),
    "ed448": ("ed448", "Ed448"),
    "ml-dsa-44": ("ml-dsa-44", "ML-DSA-44"),
    "ml-dsa-65": ("ml-dsa-65", "ML-DSA-65"),
    "ml-dsa-87": ("ml-dsa-87", "ML-DSA-87"),
}


@pytest.mark.parametrize("kind", pki.KINDS)
def test_the_algorithm_follows_the_key(kind: str) -> None:
    key = pki.key(kind)
    algorithm = signature_algorithm(key.public_key())
    assert (algorithm.name, describe_key(key.public_key())) == NAMES[kind]
    signature = algorithm.signing_function(key)(b"message")
    algorithm.verify(key.public_key(), signature, b"message")
    assert algorithm.is_valid(key.public_key(), signature, b"message")
    assert not algorithm.is_valid(key.public_key(), signature, b"massage")
    assert not algorithm.is_valid(key.public_key(), b"", b"message")
    assert not algorithm.is_valid(key.public_key(), signature[:-1], b"message")
    with pytest.raises(InvalidSignature):
        algorithm.verify(pki.new_key(kind).public_key(), signature, b"message")


@pytest.mark.parametrize("pss", [False, True])
@pytest.mark.parametrize("digest", ["sha256", "SHA-384", "sha512"])
def test_rsa_schemes_do_not_pass_for_each_other(digest: str, pss: bool) -> None:
    key = pki.key("rsa-2048")
    algorithm = signature_algorithm(key.public_key(), digest=digest, pss=pss)
    assert algorithm.digest.name == digest.lower().replace("-", "")
    assert algorithm.scheme == ("rsa-pss" if pss else "rsa-pkcs1v15")
    signature = algorithm.signing_function(key)(b"message")
    assert algorithm.is_valid(key.public_key(), signature, b"message")
    other = signature_algorithm(key.public_key(), digest=digest, pss=not pss)
    assert not other.is_valid(key.public_key(), signature, b"message")


def test_pss_parameters() -> None:
    algorithm = signature_algorithm(pki.key("rsa-2048").public_key(), pss=True)
    parsed = algos.SignedDigestAlgorithm.load(algorithm.identifier)
    assert parsed["algorithm"].native == "rsassa_pss"
    assert parsed["parameters"]["hash_algorithm"]["algorithm"].native == "sha256"
    assert parsed["parameters"]["salt_length"].native == 32
    assert parsed["parameters"]["trailer_field"].native == "trailer_field_bc"


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        ("p256", {"pss": True}, "RSA-PSS was asked for"),
        ("ed25519", {"pss": True}, "RSA-PSS was asked for"),
        ("p256", {"digest": "sha1"}, "not a digest for signatures"),
        ("rsa-2048", {"digest": "md5"}, "not a digest for signatures"),
        ("rsa-2048", {"digest": "sha3-256"}, "not a digest for signatures"),
        ("ed25519", {"digest": "sha256"}, "goes with sha512"),
        ("ed448", {"digest": "sha512"}, "goes with shake256"),
        ("ml-dsa-65", {"digest": "sha384"}, "goes with sha512"),
    ],
)
def test_contradictions_are_refused(kind: str, options: dict[str, object], reason: str) -> None:
    with pytest.raises(UnsupportedKey, match=reason):
        signature_algorithm(pki.key(kind).public_key(), **options)  # type: ignore[arg-type] # digest or pss


def test_keys_that_cannot_sign_timestamps_are_refused() -> None:
    for key, reason in (
        (ec.generate_private_key(ec.SECP256K1()), "secp256k1"),
        (ec.generate_private_key(ec.BrainpoolP256R1()), "brainpoolP256r1"),
        (x25519.X25519PrivateKey.generate(), "cannot sign timestamps"),
        (dsa.generate_private_key(1024), "cannot sign timestamps"),
        (rsa.generate_private_key(65537, 1024), "1024 bits"),
    ):
        with pytest.raises(UnsupportedKey, match=reason):
            signature_algorithm(key.public_key())
