"""The memory signer and its test chain: root, intermediate and timestamping certificate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tsa_core.api import LocalKeySigner, PrivateKey, PublicKey, describe_key, new_key
from tsa_signer_memory.options import MemoryOptions

_LEAF_VALIDITY: Final = timedelta(days=9 * 365)
_CA_VALIDITY: Final = timedelta(days=10 * 365)


class MemorySigner(LocalKeySigner):
    """Signs with a key that is gone when the process ends; its certificates come with it.

    The chain is the Sigstore Timestamp Authority's: `Test TSA Timestamping` under `Test TSA Intermediate` under
    `Test TSA Root`, O=`local`. Nobody should trust it: it is new at every start and the CA keys are thrown away.
    """

    def __init__(self, options: MemoryOptions) -> None:
        key = new_key(options.algorithm)
        super().__init__(key, digest=options.signature_digest, rsa_pss=options.rsa_pss)
        self._chain = _make_chain(options.algorithm, key.public_key())

    def certificate_chain(self) -> Sequence[bytes]:
        """Return the chain made at start, TSA certificate first."""
        return self._chain

    def details(self) -> Mapping[str, str]:
        """Return the key's kind."""
        return {"key": f"{describe_key(self.public_key)}, in memory, lost when the process ends"}


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "local"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _make_chain(kind: str, public_key: PublicKey) -> tuple[bytes, ...]:
    root_key, intermediate_key = new_key(kind), new_key(kind)
    root_name, intermediate_name = _name("Test TSA Root"), _name("Test TSA Intermediate")
    certificates = (
        _certificate(
            subject=_name("Test TSA Timestamping"),
            public_key=public_key,
            issuer=intermediate_name,
            issuer_key=intermediate_key,
            path_length=None,
        ),
        _certificate(
            subject=intermediate_name,
            public_key=intermediate_key.public_key(),
            issuer=root_name,
            issuer_key=root_key,
            path_length=0,
            timestamping=True,
        ),
        _certificate(
            subject=root_name,
            public_key=root_key.public_key(),
            issuer=root_name,
            issuer_key=root_key,
            path_length=1,
        ),
    )
    return tuple(certificate.public_bytes(Encoding.DER) for certificate in certificates)


def _certificate(
    *,
    subject: x509.Name,
    public_key: PublicKey,
    issuer: x509.Name,
    issuer_key: PrivateKey,
    path_length: int | None,
    timestamping: bool = False,
) -> x509.Certificate:
    """Return one certificate; `path_length` None makes the TSA's own."""
    ca = path_length is not None
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        # A few minutes of grace for verifiers whose clocks are behind.
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + (_CA_VALIDITY if ca else _LEAF_VALIDITY))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not ca,
                key_cert_sign=ca,
                crl_sign=ca,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )
    if subject != issuer:
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    if timestamping or not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=not ca)
    if isinstance(issuer_key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        return builder.sign(issuer_key, hashes.SHA256() if issuer_key.key_size <= 3072 else hashes.SHA512())
    return builder.sign(issuer_key, None)
