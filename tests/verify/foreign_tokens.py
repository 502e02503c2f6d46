"""Authorities and replies with the oddities that other authorities' have, made by a PKI of the test.

Each is made after a reply that somebody published (test_published_vectors.py reads those, where they are): what is
odd about the original is odd about ours, and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tsa_core.protocol import der, oids
from tsa_core.protocol.hashes import SHA256, SHA512, HashAlgorithm
from tsa_core.protocol.signatures import signature_algorithm
from tsa_core.protocol.tstinfo import Accuracy
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import (
    Chain,
    Extension,
    Issued,
    ca_extensions,
    issue,
    key_usage,
    make_chain,
    make_key,
    signer_extensions,
    timestamping,
)

PAYLOAD = b"a payload of the year in which its authority was alive\n"
NOT_A_CA: Extension = (x509.BasicConstraints(ca=False, path_length=None), True)
ONE_SECOND = Accuracy(microseconds=1_000_000)
WIDE = 0x7B << 151
"""A serial number or nonce of 158 bits, longer than any machine word."""


def pem(*issued: Issued) -> bytes:
    """Return their certificates as one PEM file."""
    return b"".join(each.certificate.public_bytes(Encoding.PEM) for each in issued)


def subject(*attributes: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    """Return a name with these attributes in this order."""
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in attributes])


# --- Authorities ---


@cache
def three_levels() -> Chain:
    """Root, intermediate and signer, each on P-256: the common name of the signer is `Signer`."""
    return make_chain()


@cache
def two_levels() -> tuple[Issued, Issued]:
    """A self-signed CA and a signer right under it, on P-384; the signer's certificate has no basic constraints."""
    ca = issue("Two-level CA", key=make_key("p384"), extensions=ca_extensions(), digest=hashes.SHA384())
    key = make_key("p384")
    identifiers = [
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()), False),
    ]
    extensions = [key_usage(sign=True), *identifiers, timestamping()]
    return ca, issue("Two-level signer", issuer=ca, key=key, extensions=extensions, digest=hashes.SHA384())


@cache
def expired() -> tuple[Issued, Issued]:
    """A CA and a signer whose certificates were valid in 2023 alone; their names end with the organisation."""
    start, end = datetime(2023, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)
    names = [
        subject((NameOID.COMMON_NAME, name), (NameOID.ORGANIZATION_NAME, "expired"))
        for name in ("CA", "Expired signer")
    ]
    digest = hashes.SHA384()
    ca = issue(names[0], extensions=ca_extensions(), not_before=start, not_after=end, digest=digest)
    extensions = [NOT_A_CA, *signer_extensions()]
    return ca, issue(names[1], issuer=ca, extensions=extensions, not_before=start, not_after=end, digest=digest)


@cache
def commercial() -> Chain:
    """RSA keys; whoever verifies has the root alone, and finds the rest in the token."""
    return make_chain("rsa2048")


@cache
def free_of_charge() -> tuple[Issued, Issued]:
    """RSA keys; CA and signer have one common name; the signer's has seven attributes, an e-mail address among them."""
    shared = (NameOID.COMMON_NAME, "www.example.org")
    name = subject(
        (NameOID.ORGANIZATION_NAME, "Free of charge"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "TSA"),
        (x509.ObjectIdentifier("2.5.4.13"), "This certificate signs the timestamps of whoever asks www.example.org"),
        shared,
        (NameOID.EMAIL_ADDRESS, "timestamps@example.org"),
        (NameOID.LOCALITY_NAME, "Würzburg"),
        (NameOID.COUNTRY_NAME, "DE"),
    )
    root = issue(
        subject((NameOID.ORGANIZATION_NAME, "Free of charge"), shared),
        key=make_key("rsa2048"),
        extensions=ca_extensions(),
    )
    signer = issue(name, issuer=root, key=make_key("rsa2048"), extensions=[NOT_A_CA, *signer_extensions()])
    return root, signer


# --- What they say ---


def ess_v1(signer: Issued) -> dict[str, Sequence[bytes] | None]:
    """Return attributes with an ESSCertID of the first version in place of the second's."""
    return {
        oids.ID_AA_SIGNING_CERTIFICATE: [forge.signing_certificate(forge.ess_cert_id(signer.der))],
        oids.ID_AA_SIGNING_CERTIFICATE_V2: None,
    }


def reply_of_two_levels(
    hash_algorithm: HashAlgorithm = SHA256, *, digest: bytes | None = None, certificates: bool = True
) -> bytes:
    """Imprint and ESSCertIDv2 share a hash algorithm, while everything that is signed has SHA-256."""
    _, signer = two_levels()
    content = forge.tst_info(
        hash_algorithm=hash_algorithm,
        digest=digest,
        serial_number=WIDE,
        accuracy=ONE_SECOND,
        nonce=WIDE + 1,
        tsa=signer.certificate.subject,
    )
    ess = forge.ess_cert_id_v2(
        signer.der,
        algorithm=b"" if hash_algorithm is SHA256 else hash_algorithm.identifier,  # DER leaves the default out
        digest=hash_algorithm.digest(signer.der),
    )
    token = forge.token(
        signer,
        content,
        certificates=[signer.der] if certificates else [],
        algorithm=signature_algorithm(signer.certificate.public_key(), digest="sha256"),
        attributes={oids.ID_AA_SIGNING_CERTIFICATE_V2: [forge.signing_certificate(ess)]},
    )
    return forge.reply(token)


def reply_of_three_levels(*ahead: Issued, nonce: int = 0x36A4) -> bytes:
    """About SHA-512 of `hello`; the bag holds the signer's certificate after those of `ahead`."""
    signer = three_levels().signer
    content = forge.tst_info(hash_algorithm=SHA512, accuracy=ONE_SECOND, nonce=nonce)
    return forge.reply(forge.token(signer, content, certificates=[*(each.der for each in ahead), signer.der]))


def injected() -> tuple[Issued, Issued]:
    """A stranger for timestamps, and a namesake of the signer without any extension, both of nobody's making."""
    stranger = issue("Spoofed TSA", extensions=[timestamping()])
    return stranger, issue(three_levels().signer.certificate.subject)


def reply_of_the_expired() -> bytes:
    """A reply without certificates and without the authority's name, with a negative serial number."""
    _, signer = expired()
    content = forge.tst_info(
        PAYLOAD,
        gen_time=datetime(2023, 2, 1, tzinfo=UTC),
        serial_number=-559038737,
        accuracy=ONE_SECOND,
        nonce=1234567890,
    )
    return forge.reply(forge.token(signer, content))


def reply_of_the_commercial() -> bytes:
    """ESSCertID of the first version, no accuracy, SHA-512 under SHA-256, certificates in descending order."""
    chain = commercial()
    bag = sorted([chain.signer.der, chain.intermediate.der], reverse=True)
    content = forge.tst_info(hash_algorithm=SHA512, serial_number=0x400195846778D8EBD3E0D31354082A24, nonce=0x75C3B321)
    return forge.reply(
        forge.token(chain.signer, content, certificates=bag, attributes=ess_v1(chain.signer), digest=SHA256)
    )


def reply_of_the_free() -> bytes:
    """ESSCertID of the first version, ordering TRUE, no accuracy, a long tsa name, the root in an unsorted bag."""
    root, signer = free_of_charge()
    content = forge.tst_info(ordering=True, nonce=0x684C, tsa=signer.certificate.subject)
    algorithm = signature_algorithm(signer.certificate.public_key(), digest="sha512")
    bag = sorted([root.der, signer.der], reverse=True)
    return forge.reply(forge.token(signer, content, certificates=bag, attributes=ess_v1(signer), algorithm=algorithm))


def cms_of_ml_dsa(kind: str, text: bytes) -> tuple[Issued, bytes]:
    """Return a key and SignedData of plain data: no certificate, no signing time, SHA-512 (RFC 9882 3)."""
    signer = issue("ML-DSA signer", key=make_key(kind), extensions=signer_extensions())
    attributes: dict[str, Sequence[bytes] | None] = {
        oids.ID_CONTENT_TYPE: [der.oid(oids.ID_DATA)],
        oids.ID_SIGNING_TIME: None,
        oids.ID_AA_SIGNING_CERTIFICATE_V2: None,
    }
    return signer, forge.token(signer, text, attributes=attributes, content_type=oids.ID_DATA, version=1, digest=SHA512)
