"""Which chains may issue (rule S8 and the reference system's checks): each violation is one line with its remedy."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tsa_core.api import ConfigError, KeyMismatch, LocalKeySigner, PrivateKey, TsaError
from tsa_core.authority.chain import CertificateChain, check_chain, load_chain
from tsa_core.testing.pki import KEY_KINDS, Pki, shared_key, write_pem

TIMESTAMPING = ExtendedKeyUsageOID.TIME_STAMPING
CODE_SIGNING = ExtendedKeyUsageOID.CODE_SIGNING


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki()


@pytest.fixture(scope="module")
def key() -> PrivateKey:
    return shared_key()


def check(certificates: Sequence[x509.Certificate], key: PrivateKey, **options: Any) -> None:
    check_chain(CertificateChain(certificates=tuple(certificates)), LocalKeySigner(key), where="here", **options)


def refusal(certificates: Sequence[x509.Certificate], key: PrivateKey, **options: Any) -> str:
    with pytest.raises(TsaError) as caught:
        check(certificates, key, **options)
    assert isinstance(caught.value, ConfigError | KeyMismatch)
    message = str(caught.value)
    assert message.startswith("here: ")
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize("kind", [kind for kind in KEY_KINDS if kind != "rsa-4096"])
def test_a_right_chain_passes_with_every_kind_of_key(kind: str) -> None:
    key = shared_key(kind)
    check(Pki(kind=kind).chain(key.public_key()), key)


def test_a_chain_without_intermediates_passes(key: PrivateKey) -> None:
    check(Pki(intermediates=0).chain(key.public_key()), key)


def test_one_certificate_is_too_few(pki: Pki, key: PrivateKey) -> None:
    assert "has 1 certificate(s)" in refusal(pki.chain(key.public_key())[:1], key)


def test_the_order_matters(pki: Pki, key: PrivateKey) -> None:
    leaf, intermediate, root = pki.chain(key.public_key())
    assert "was not issued by" in refusal((leaf, root, intermediate), key)
    assert "last" in refusal((root, intermediate, leaf), key) or "was not issued" in refusal(
        (root, intermediate, leaf), key
    )


def test_the_root_must_be_there(pki: Pki, key: PrivateKey) -> None:
    assert "is not self-signed; put the root at the end" in refusal(pki.chain(key.public_key())[:2], key)


def test_a_chain_of_another_pki_is_refused(pki: Pki, key: PrivateKey) -> None:
    leaf, intermediate, _ = pki.chain(key.public_key())
    assert "was not issued by" in refusal((leaf, intermediate, Pki().root), key)


def test_the_key_must_be_the_certified_one(pki: Pki, key: PrivateKey) -> None:
    other = shared_key("ecdsa-p384")
    message = refusal(pki.chain(other.public_key()), key)
    assert "the signer's key (EC secp256r1, SHA-256 " in message
    assert "(EC secp384r1, SHA-256 " in message


@pytest.mark.parametrize(
    ("usages", "critical", "expected"),
    [
        ((), True, "it is: none"),
        ((TIMESTAMPING,), False, "is not critical"),
        ((TIMESTAMPING, CODE_SIGNING), True, "and nothing else"),
        ((CODE_SIGNING,), True, "must be timeStamping"),
        ((TIMESTAMPING, x509.ObjectIdentifier("1.2.3.4")), True, "1.2.3.4"),
    ],
)
def test_extended_key_usage_of_the_leaf(
    pki: Pki, key: PrivateKey, usages: tuple[x509.ObjectIdentifier, ...], critical: bool, expected: str
) -> None:
    leaf = pki.issue(key.public_key(), usages=usages, usage_critical=critical)
    assert expected in refusal(pki.chain(leaf), key)


def test_a_ca_must_not_issue_timestamps(pki: Pki, key: PrivateKey) -> None:
    assert "is a CA's" in refusal(pki.chain(pki.issue(key.public_key(), ca=True)), key)


def test_an_ended_certificate(pki: Pki, key: PrivateKey) -> None:
    leaf = pki.issue(key.public_key(), not_before=pki.now - timedelta(days=2), not_after=pki.now - timedelta(days=1))
    assert "ended on" in refusal(pki.chain(leaf), key)


def test_a_certificate_of_the_future(pki: Pki, key: PrivateKey) -> None:
    leaf = pki.issue(key.public_key(), not_before=pki.now + timedelta(days=1))
    message = refusal(pki.chain(leaf), key)
    assert "is not valid before" in message


def test_an_ended_root(key: PrivateKey) -> None:
    old = Pki(now=Pki().now - timedelta(days=800))
    assert "ended on" in refusal(old.chain(key.public_key()), key)


def build(
    *extensions: tuple[x509.ExtensionType, bool],
    subject: str,
    key: PrivateKey,
    issuer: str | None = None,
    issuer_key: PrivateKey | None = None,
) -> x509.Certificate:
    now = Pki().now
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer or subject)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    signing = issuer_key or key
    assert isinstance(signing, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    return builder.sign(signing, hashes.SHA256())


def key_usage(**true: bool) -> x509.KeyUsage:
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: true.get(name, False) for name in names})


CA = (x509.BasicConstraints(ca=True, path_length=None), True)
EKU = (x509.ExtendedKeyUsage([TIMESTAMPING]), True)


@pytest.fixture(scope="module")
def ca_key() -> PrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def middle_key() -> PrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (key_usage(key_agreement=True), "allows no signatures"),
        (key_usage(digital_signature=True, key_cert_sign=True), "allows more than signatures"),
        (key_usage(digital_signature=True, key_encipherment=True), "allows more than signatures"),
    ],
)
def test_key_usage_of_the_leaf(key: PrivateKey, ca_key: PrivateKey, usage: x509.KeyUsage, expected: str) -> None:
    root = build(CA, subject="root", key=ca_key)
    leaf = build(EKU, (usage, True), subject="leaf", key=key, issuer="root", issuer_key=ca_key)
    assert expected in refusal((leaf, root), key)


@pytest.mark.parametrize("usage", [key_usage(digital_signature=True), key_usage(content_commitment=True)])
def test_key_usages_that_a_tsa_may_have(key: PrivateKey, ca_key: PrivateKey, usage: x509.KeyUsage) -> None:
    root = build(CA, subject="root", key=ca_key)
    check((build(EKU, (usage, True), subject="leaf", key=key, issuer="root", issuer_key=ca_key), root), key)


def test_an_intermediate_that_is_no_ca(key: PrivateKey, ca_key: PrivateKey, middle_key: PrivateKey) -> None:
    root = build(CA, subject="root", key=ca_key)
    middle = build(EKU, subject="middle", key=middle_key, issuer="root", issuer_key=ca_key)
    leaf = build(EKU, subject="leaf", key=key, issuer="middle", issuer_key=middle_key)
    assert "is no CA's" in refusal((leaf, middle, root), key)


def test_a_ca_without_cert_sign(key: PrivateKey, ca_key: PrivateKey) -> None:
    root = build(CA, (key_usage(crl_sign=True), True), subject="root", key=ca_key)
    leaf = build(EKU, subject="leaf", key=key, issuer="root", issuer_key=ca_key)
    assert "lacks keyCertSign" in refusal((leaf, root), key)


def test_a_path_length_that_is_exceeded(key: PrivateKey, ca_key: PrivateKey, middle_key: PrivateKey) -> None:
    root = build((x509.BasicConstraints(ca=True, path_length=0), True), subject="root", key=ca_key)
    middle = build(CA, EKU, subject="middle", key=middle_key, issuer="root", issuer_key=ca_key)
    leaf = build(EKU, subject="leaf", key=key, issuer="middle", issuer_key=middle_key)
    assert "allows 0 CA certificate(s) below it, the chain has 1" in refusal((leaf, middle, root), key)


@pytest.mark.parametrize("usages", [None, [CODE_SIGNING]])
def test_an_intermediate_must_list_timestamping_unless_relaxed(
    key: PrivateKey, ca_key: PrivateKey, middle_key: PrivateKey, usages: list[x509.ObjectIdentifier] | None
) -> None:
    root = build(CA, subject="root", key=ca_key)
    more = [(x509.ExtendedKeyUsage(usages), False)] if usages else []
    middle = build(CA, *more, subject="middle", key=middle_key, issuer="root", issuer_key=ca_key)
    leaf = build(EKU, subject="leaf", key=key, issuer="middle", issuer_key=middle_key)
    assert "enforce_intermediate_eku = false" in refusal((leaf, middle, root), key)
    check((leaf, middle, root), key, enforce_intermediate_eku=False)


def test_a_short_rsa_key_of_a_ca(key: PrivateKey) -> None:
    short = rsa.generate_private_key(65537, 1024)
    root = build(CA, subject="root", key=short)
    leaf = build(EKU, subject="leaf", key=key, issuer="root", issuer_key=short)
    assert "has 1024 bits; 2048 is the minimum" in refusal((leaf, root), key)


def test_files_are_read_in_order(pki: Pki, key: PrivateKey, tmp_path: Path) -> None:
    chain = pki.chain(key.public_key())
    loaded = load_chain(write_pem(tmp_path / "chain.pem", chain))
    assert loaded.certificates == chain
    assert [len(loaded.selection(which)) for which in ("leaf", "intermediates", "full")] == [1, 2, 3]


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_file_without_certificates(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "chain.pem"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"chain\.pem: the certificate chain is not a PEM file"):
        load_chain(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nope\.pem: the certificate chain cannot be read: No such file"):
        load_chain(tmp_path / "nope.pem")
