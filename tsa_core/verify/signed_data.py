"""The CMS part of a token: who signed it, and did they (rules V3, V4, V5 and V13)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtensionOID

from tsa_core.paths.algorithms import STRICT, AlgorithmRules
from tsa_core.paths.certificate import PathCertificate
from tsa_core.paths.notes import Note
from tsa_core.protocol import der, oids
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.hashes import SHA1, SHA256, HashAlgorithm
from tsa_core.protocol.reply import SignerInfo, Token, read_signer_info, values_of
from tsa_core.verify.algorithms import SignatureScheme, digest_algorithm, signature_scheme
from tsa_core.verify.errors import (
    AmbiguousSigner,
    MalformedTimestamp,
    SignatureInvalid,
    SignedDataError,
    SignerCertificateMissing,
    SigningCertificateError,
)
from tsa_core.verify.signing_time import check_signing_time

MAX_CERTIFICATES: Final = 64
"""Certificates in a token; honest ones hold two to five."""

_CMS_VERSIONS: Final = frozenset({3, 4, 5})  # RFC 5652 5.1: at least 3, since the content is no id-data
_OLD_SIGNED_DATA: Final = Note(
    code="signed-data-version",
    text="the SignedData says version 1, which is wrong for a TSTInfo (RFC 5652 5.1)",
)
_NEW_SIGNER_INFO: Final = Note(
    code="signer-info-version",
    text="the SignerInfo says version 3 but names its signer by issuer and serial number (RFC 5652 5.3)",
)
_TST_INFO_TYPE: Final = der.oid(oids.ID_CT_TST_INFO)
_SUBJECT_KEY_IDENTIFIER: Final = 0x80
_CONTENT_TYPE: Final = der.oid(oids.ID_CONTENT_TYPE)
_MESSAGE_DIGEST: Final = der.oid(oids.ID_MESSAGE_DIGEST)
_SIGNING_TIME: Final = der.oid(oids.ID_SIGNING_TIME)
_ALGORITHM_PROTECT: Final = der.oid(oids.ID_AA_CMS_ALGORITHM_PROTECT)
_SIGNING_CERTIFICATE: Final = der.oid(oids.ID_AA_SIGNING_CERTIFICATE)
_SIGNING_CERTIFICATE_V2: Final = der.oid(oids.ID_AA_SIGNING_CERTIFICATE_V2)


class CertificateID(NamedTuple):
    """The first ESSCertID or ESSCertIDv2 of an attribute: the one that must be the signer's (RFC 5035 3)."""

    algorithm: HashAlgorithm
    certificate_hash: bytes
    issuer_serial: tuple[bytes, bytes] | None
    """Issuer Name and serial number, encoded; None when absent."""


class SignedToken(NamedTuple):
    """A token whose structure holds together; nothing about its signer is known yet."""

    info: SignerInfo
    digest: HashAlgorithm
    scheme: SignatureScheme
    ess_values: tuple[tuple[bool, bytes], ...]
    """The values of the signing-certificate attributes, each with whether it is of the second version."""
    notes: tuple[Note, ...] = ()
    """What breaks a rule of RFC 5652 and was accepted nonetheless, as openssl and BouncyCastle do."""


def check_structure(token: Token, rules: AlgorithmRules = STRICT) -> SignedToken:
    """Return the one signer of a token; raises when the parts of the SignedData contradict each other."""
    if len(token.signers) != 1:
        raise AmbiguousSigner(f"the token has {len(token.signers)} signers; a timestamp has exactly one")
    if len(token.certificates) > MAX_CERTIFICATES:
        raise AmbiguousSigner(f"the token holds {len(token.certificates)} certificates, over {MAX_CERTIFICATES}")
    if token.content_type != _TST_INFO_TYPE:
        raise SignedDataError("the token holds something else than a TSTInfo")
    try:
        info = read_signer_info(token.signers[0])
    except EncodingError as error:
        raise MalformedTimestamp(str(error)) from None
    notes = _check_versions(token, info)
    if info.digest_algorithm_der not in token.digest_algorithms:
        named = {_without_null(algorithm) for algorithm in token.digest_algorithms}
        if _without_null(info.digest_algorithm_der) not in named:
            raise SignedDataError("digestAlgorithms does not list the signer's digest algorithm")
    digest = digest_algorithm(info.digest_algorithm_der, "the message digest", rules)
    if _one(info, _CONTENT_TYPE, "content-type") != _TST_INFO_TYPE:
        raise SignedDataError("the content-type attribute does not say TSTInfo")
    if _one(info, _MESSAGE_DIGEST, "message-digest") != der.octet_string(digest.digest(token.content)):
        raise SignedDataError("the message-digest attribute is not the digest of the content")
    if _SIGNING_TIME in info.attributes:
        check_signing_time(_one(info, _SIGNING_TIME, "signing-time"))
    if _ALGORITHM_PROTECT in info.attributes:
        _check_algorithm_protection(info)

    ess_values = tuple(
        (name is _SIGNING_CERTIFICATE_V2, _one(info, name, "signing-certificate"))
        for name in (_SIGNING_CERTIFICATE, _SIGNING_CERTIFICATE_V2)
        if name in info.attributes
    )
    if not ess_values:
        raise SigningCertificateError("the token does not say which certificate signed it: no ESSCertID")
    return SignedToken(info, digest, signature_scheme(info.signature_algorithm_der, digest, rules), ess_values, notes)


def _check_versions(token: Token, info: SignerInfo) -> tuple[Note, ...]:
    """Return what is wrong with the versions but read by everybody; raises SignedDataError for other versions."""
    notes = []
    if token.version == 1:
        notes.append(_OLD_SIGNED_DATA)
    elif token.version not in _CMS_VERSIONS:
        raise SignedDataError(f"the SignedData has the unknown version {token.version}")
    by_key = info.sid_der[0] == _SUBJECT_KEY_IDENTIFIER
    if info.version == 3 and not by_key:
        notes.append(_NEW_SIGNER_INFO)
    elif info.version != (3 if by_key else 1):
        raise SignedDataError(f"the SignerInfo's version {info.version} contradicts how it names its signer")
    return tuple(notes)


def find_signer(signed: SignedToken, candidates: Iterable[PathCertificate]) -> PathCertificate:
    """Return the certificate that the SignerInfo names and every ESSCertID identifies (RFC 5816 2.2.1).

    The certificate is chosen by what the signer signed, never by its place in the bag: certificates can be
    put into a token by anyone (CVE-2026-39984).
    """
    named = [candidate for candidate in candidates if is_named(candidate, signed.info.sid_der)]
    if not named:
        raise SignerCertificateMissing("the signer's certificate is neither in the token nor among those given")
    ids = [_certificate_id(second, value) for second, value in signed.ess_values]
    for candidate in named:
        if all(i.algorithm.digest(candidate.der) == i.certificate_hash for i in ids):
            expected = (candidate.issuer, candidate.serial_der)
            if any(i.issuer_serial not in {None, expected} for i in ids):
                raise SigningCertificateError("the ESSCertID's issuer and serial number are not the signer's")
            return candidate
    raise SigningCertificateError("the ESSCertID is not the hash of the signer's certificate")


def check_signature(signed: SignedToken, signer: PathCertificate, rules: AlgorithmRules = STRICT) -> None:
    """Raise SignatureInvalid unless the signer's key signed the attributes (RFC 5652 5.4)."""
    info, scheme = signed.info, signed.scheme
    try:
        signer.check_signature(scheme, info.signature, info.signed_attributes_der, rules)
    except InvalidSignature:
        # What is signed is the DER, with the SET in order; some send it in another order than they signed.
        _, start, end = der.read(info.signed_attributes_der, 0, len(info.signed_attributes_der))
        ordered = der.set_of(*values_of(info.signed_attributes_der[start:end]))
        try:
            if ordered == info.signed_attributes_der:
                raise
            signer.check_signature(scheme, info.signature, ordered, rules)
        except InvalidSignature:
            raise SignatureInvalid("the signature does not verify with the signer's key") from None


def is_named(candidate: PathCertificate, sid: bytes) -> bool:
    """Say whether a SignerIdentifier names this certificate (RFC 5652 5.3)."""
    if sid[0] == _SUBJECT_KEY_IDENTIFIER:
        own = candidate.value(ExtensionOID.SUBJECT_KEY_IDENTIFIER)
        return own is not None and der.tlv(_SUBJECT_KEY_IDENTIFIER, own.digest) == sid
    return der.sequence(candidate.issuer, candidate.serial_der) == sid


def _one(info: SignerInfo, name: bytes, title: str) -> bytes:
    values = info.attributes.get(name, ())
    if len(values) != 1:
        raise SignedDataError(f"the {title} attribute is missing or does not have exactly one value")
    return values[0]


def _without_null(algorithm: bytes) -> bytes:
    """Return a hash's AlgorithmIdentifier with parameters NULL left out, which means the same (RFC 5754 2)."""
    if algorithm[0] == der.SEQUENCE and algorithm[1] < 0x80 and algorithm[-2:] == der.null():
        return der.sequence(algorithm[2:-2])
    return algorithm


def _check_algorithm_protection(info: SignerInfo) -> None:
    """Raise SignedDataError when cms-algorithm-protection names other algorithms (RFC 6211)."""
    value = _one(info, _ALGORITHM_PROTECT, "cms-algorithm-protection")
    signature = b"\xa1" + info.signature_algorithm_der[1:]
    if value != der.sequence(info.digest_algorithm_der, signature):
        raise SignedDataError("the algorithms are not those of the cms-algorithm-protection attribute")


@lru_cache(maxsize=64)
def _certificate_id(second: bool, encoded: bytes) -> CertificateID:
    """Read the first id of a signing-certificate attribute, of the second version or the first.

    What follows it, further ids and policies, need only be what it must be (RFC 5035 3 and 5).
    """
    try:
        identifiers, *further = _parts(encoded)
        policies = _parts(further[0]) if further else ()
        if len(further) > 1 or any(_parts(policy)[0][0] != der.OBJECT_IDENTIFIER for policy in policies):
            raise EncodingError("something else than policies follows the ids")
        first, *_ = [_read_id(second, identifier) for identifier in _parts(identifiers)]
    except (EncodingError, IndexError, ValueError) as error:
        raise SigningCertificateError(f"the signing-certificate attribute cannot be read: {error}") from None
    hash_algorithm, certificate_hash, issuer_serial = first
    # RFC 5035 4; the first version knows no other hash than SHA-1.
    algorithm = digest_algorithm(hash_algorithm, "the ESSCertIDv2") if hash_algorithm else SHA256 if second else SHA1
    return CertificateID(algorithm, certificate_hash, issuer_serial)


def _read_id(second: bool, encoded: bytes) -> tuple[bytes, bytes, tuple[bytes, bytes] | None]:
    """Return the hash's AlgorithmIdentifier, empty where it is left out, the hash, and issuer and serial number."""
    parts = list(_parts(encoded))
    algorithm = parts.pop(0) if second and parts[0][0] == der.SEQUENCE else b""
    tag, start, end = der.read(parts[0], 0, len(parts[0]))
    if tag != der.OCTET_STRING or len(parts) > 2:
        raise EncodingError("an ESSCertID has parts that it must not have")
    return algorithm, parts[0][start:end], _issuer_serial(parts[1]) if len(parts) == 2 else None


def _issuer_serial(encoded: bytes) -> tuple[bytes, bytes]:
    names, serial_number = _parts(encoded)
    (name,) = _parts(names)
    tag, start, end = der.read(name, 0, len(name))
    if tag != 0xA4:
        raise EncodingError("the issuer of an ESSCertID is not one directoryName")
    return name[start:end], serial_number


def _parts(sequence: bytes) -> tuple[bytes, ...]:
    """Return the encoded values in a SEQUENCE."""
    tag, start, end = der.read(sequence, 0, len(sequence))
    if tag != der.SEQUENCE:
        raise EncodingError("a SEQUENCE is missing")
    return values_of(sequence[start:end])
