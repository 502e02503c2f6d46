"""Certificate chains on the spot, right ones and wrong ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tsa_core.api import PrivateKey, new_key
from tsa_core.testing.pki import shared_key

START = datetime(2020, 1, 1, tzinfo=UTC)
END = START + timedelta(days=365 * 20)

Extension = tuple[x509.ExtensionType, bool]
"""An extension's value and whether it is critical."""

_KINDS = {
    "p256": "ecdsa-p256",
    "p384": "ecdsa-p384",
    "p521": "ecdsa-p521",
    "rsa2048": "rsa-2048",
    "rsa3072": "rsa-3072",
    **{kind: kind for kind in ("ed25519", "ed448", "ml-dsa-44", "ml-dsa-65", "ml-dsa-87")},
}
KEY_KINDS = tuple(_KINDS)


@dataclass(frozen=True, kw_only=True)
class Issued:
    """A certificate with its private key."""

    key: PrivateKey
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        """The certificate's bytes."""
        return self.certificate.public_bytes(Encoding.DER)


def make_key(kind: str = "p256") -> PrivateKey:
    """Return a new private key; `kind` is one of KEY_KINDS, or rsa1024, which is to be refused."""
    if kind == "rsa1024":
        return rsa.generate_private_key(65537, 1024)  # noqa: S505 - to be refused
    return new_key(_KINDS[kind])


def shared(kind: str, number: int = 0) -> PrivateKey:
    """Return what `tsa_core.testing.shared_key` returns; `kind` is one of KEY_KINDS."""
    return shared_key(_KINDS[kind], number)


def timestamping(*, critical: bool = True) -> Extension:
    """Return the extended key usage of a timestamp signer."""
    return x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical


def key_usage(*, sign: bool = False, certificates: bool = False, crls: bool = False) -> Extension:
    """Return a critical key usage with these bits."""
    usage = x509.KeyUsage(
        digital_signature=sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=crls,
        encipher_only=False,
        decipher_only=False,
    )
    return usage, True


def ca_extensions(path_length: int | None = None) -> tuple[Extension, ...]:
    """Return the extensions of an ordinary CA."""
    return (
        (x509.BasicConstraints(ca=True, path_length=path_length), True),
        key_usage(certificates=True, crls=True),
    )


def signer_extensions() -> tuple[Extension, ...]:
    """Return the extensions of an ordinary timestamp signer."""
    return (timestamping(), key_usage(sign=True))


def name(common_name: str) -> x509.Name:
    """Return a subject with an organisation and this common name."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "tsa-core tests"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def issue(
    subject: str | x509.Name,
    *,
    issuer: Issued | None = None,
    key: PrivateKey | None = None,
    extensions: Sequence[Extension] = (),
    not_before: datetime = START,
    not_after: datetime = END,
    serial_number: int | None = None,
    digest: hashes.HashAlgorithm | None = None,
    pss: bool = False,
) -> Issued:
    """Return a certificate with key; self-signed without an `issuer`. Nothing is added to `extensions`."""
    from cryptography.hazmat.primitives.asymmetric import padding

    key = key if key is not None else make_key()
    subject = name(subject) if isinstance(subject, str) else subject
    signing_key = issuer.key if issuer is not None else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer is not None else subject)
        .public_key(key.public_key())
        .serial_number(serial_number if serial_number is not None else x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    hashed = isinstance(signing_key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    algorithm = (digest or hashes.SHA256()) if hashed else None
    rsa_padding = padding.PSS(padding.MGF1(hashes.SHA256()), 32) if pss else None
    return Issued(key=key, certificate=builder.sign(signing_key, algorithm, rsa_padding=rsa_padding))  # type: ignore[arg-type]  # cryptography types no common key


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A root, an intermediate and a timestamp signer."""

    root: Issued
    intermediate: Issued
    signer: Issued

    @property
    def pem(self) -> bytes:
        """The chain as an authority serves it: signer, intermediate, root."""
        return b"".join(
            issued.certificate.public_bytes(Encoding.PEM) for issued in (self.signer, self.intermediate, self.root)
        )


def make_chain(kind: str = "p256") -> Chain:
    """Return a chain that is in order, every key of this kind, valid from 2020 for twenty years."""
    root = issue("Root", key=make_key(kind), extensions=ca_extensions())
    purposes = (*ca_extensions(0), timestamping(critical=False))
    intermediate = issue("Intermediate", issuer=root, key=make_key(kind), extensions=purposes)
    signer = issue("Signer", issuer=intermediate, key=make_key(kind), extensions=signer_extensions())
    return Chain(root=root, intermediate=intermediate, signer=signer)
