"""Keys and certificate chains for tests, made on the spot.

Small on purpose: what plugin authors get is tsa_core.testing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tsa_core import api
from tsa_core.api import PrivateKey
from tsa_core.testing.pki import shared_key

NOT_BEFORE = datetime(2020, 1, 1, tzinfo=UTC)
NOT_AFTER = datetime(2070, 1, 1, tzinfo=UTC)
TIMESTAMPING = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])

KINDS = (
    "rsa-2048",
    "rsa-3072",
    "rsa-4096",
    "p224",
    "p256",
    "p384",
    "p521",
    "ed25519",
    "ed448",
    "ml-dsa-44",
    "ml-dsa-65",
    "ml-dsa-87",
)


def new_key(kind: str) -> PrivateKey:
    """Return a new private key of one of KINDS, or of one that is to be refused: p224, rsa-1024."""
    if kind == "p224":
        return ec.generate_private_key(ec.SECP224R1())
    if kind == "rsa-1024":
        return rsa.generate_private_key(65537, 1024)
    return api.new_key(f"ecdsa-{kind}" if kind.startswith("p") else kind)


@cache
def key(kind: str) -> PrivateKey:
    """Return the one key of this kind that all tests of a process share."""
    if kind in {"p224", "rsa-1024"}:
        return new_key(kind)
    return shared_key(f"ecdsa-{kind}" if kind.startswith("p") else kind)


def name(common_name: str) -> x509.Name:
    """Return a two-part subject name; the accent makes its DER a UTF8String that is longer than its text."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Café Tests"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def key_usage(*, sign: bool, issue: bool = False, encipher: bool = False) -> x509.KeyUsage:
    """Return a KeyUsage with these bits."""
    return x509.KeyUsage(
        digital_signature=sign,
        key_cert_sign=issue,
        crl_sign=issue,
        content_commitment=False,
        key_encipherment=encipher,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def certificate(
    subject: x509.Name,
    public_key: x509.Certificate | PrivateKey,
    issuer: x509.Name,
    issuer_key: PrivateKey,
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
    *,
    not_before: datetime = NOT_BEFORE,
    not_after: datetime = NOT_AFTER,
) -> x509.Certificate:
    """Return a certificate with exactly these extensions, each with its criticality."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    if isinstance(issuer_key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        return builder.sign(issuer_key, hashes.SHA256())
    return builder.sign(issuer_key, None)


def ca_extensions(path_length: int | None = None) -> list[tuple[x509.ExtensionType, bool]]:
    """Return what a CA's certificate must have."""
    return [
        (x509.BasicConstraints(ca=True, path_length=path_length), True),
        (key_usage(sign=False, issue=True), True),
    ]


LEAF_EXTENSIONS: Sequence[tuple[x509.ExtensionType, bool]] = (
    (x509.BasicConstraints(ca=False, path_length=None), True),
    (key_usage(sign=True), True),
    (TIMESTAMPING, True),
)


def leaf(
    private_key: PrivateKey,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = LEAF_EXTENSIONS,
    *,
    not_before: datetime = NOT_BEFORE,
    not_after: datetime = NOT_AFTER,
) -> x509.Certificate:
    """Return a TSA certificate under the intermediate that all tests share."""
    return certificate(
        name("Conformance TSA"),
        private_key,
        name("Conformance Intermediate"),
        key("p384"),
        extensions,
        not_before=not_before,
        not_after=not_after,
    )


@cache
def root() -> x509.Certificate:
    """Return the root; its key is key("p256")."""
    own = name("Conformance Root")
    return certificate(own, key("p256"), own, key("p256"), ca_extensions())


@cache
def intermediate() -> x509.Certificate:
    """Return the intermediate; its key is key("p384")."""
    extensions = [*ca_extensions(0), (TIMESTAMPING, False)]
    return certificate(name("Conformance Intermediate"), key("p384"), name("Conformance Root"), key("p256"), extensions)


@cache
def chain(kind: str = "p256") -> tuple[x509.Certificate, ...]:
    """Return leaf, intermediate and root for key(kind)."""
    return (leaf(key(kind)), intermediate(), root())


def der(certificates: Sequence[x509.Certificate]) -> tuple[bytes, ...]:
    """Return the DER of each."""
    return tuple(item.public_bytes(Encoding.DER) for item in certificates)


def pem(certificates: Sequence[x509.Certificate]) -> bytes:
    """Return them as one PEM file."""
    return b"".join(item.public_bytes(Encoding.PEM) for item in certificates)


def days(number: float) -> timedelta:
    """Return a number of days."""
    return timedelta(days=number)
