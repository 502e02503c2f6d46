"""OCSP (RFC 6960 3.2, 4.2.2): what the responses at hand state about one certificate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from cryptography import exceptions, x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from tsa_core.paths.algorithms import AlgorithmRules, certificate_signature_scheme
from tsa_core.paths.certificate import PathCertificate, text
from tsa_core.paths.errors import PathError, VerificationError
from tsa_core.paths.findings import RevocationEvidence
from tsa_core.paths.names import comparable_name
from tsa_core.paths.ocsp_reader import ARCHIVE_CUTOFF, NONCE, CertID, OCSPResponse, SingleResponse, archive_cutoff
from tsa_core.paths.reasons import ALL_REASONS
from tsa_core.paths.statements import Moment, Statement, label, why_not_current, why_silent_about_expired
from tsa_core.protocol import der, oids
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.tstinfo_reader import hash_identifier

ResponderCheck = Callable[[PathCertificate, PathCertificate], None]
"""Raises a VerificationError when a responder, appointed by an issuer, was revoked."""

_MAX_RESPONDERS: Final = 8
_NO_CHECK: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.48.1.5")
_PROCESSED: Final = frozenset({NONCE, ARCHIVE_CUTOFF, "1.3.6.1.5.5.7.48.1.3", "1.3.6.1.5.5.7.48.1.9"})
_PROCESSED_OF_ONE: Final = frozenset({ARCHIVE_CUTOFF, "2.5.29.21", "2.5.29.24"})
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    # SHA-1 names the issuer here and protects nothing; the response's signature does that.
    oids.SHA1: hashes.SHA1(),  # noqa: S303 - see above
    oids.SHA256: hashes.SHA256(),
    oids.SHA384: hashes.SHA384(),
    oids.SHA512: hashes.SHA512(),
}


def evidence_of(response: OCSPResponse, single: SingleResponse) -> RevocationEvidence:
    """Return what findings say of one part of a response."""
    return RevocationEvidence(
        kind="OCSP response",
        source=response.source,
        this_update=single.this_update,
        next_update=single.next_update,
    )


def ocsp_statements(
    certificate: PathCertificate,
    issuer: PathCertificate,
    responses: Sequence[OCSPResponse],
    *,
    moment: Moment,
    pool: Sequence[PathCertificate],
    check_responder: ResponderCheck,
    rules: AlgorithmRules,
    problems: list[str],
) -> list[Statement]:
    """Return what authentic responses state of a certificate; why others do not count is added to `problems`."""
    statements: list[Statement] = []
    for response in responses:
        what = f"the OCSP response {response.source}".rstrip()
        if response.status != "successful":
            problems.append(f"{what} says {response.status}, and nothing else")
            continue
        try:
            singles = [single for single in response.responses if _is_about(single.cert_id, certificate, issuer)]
            if not singles:
                continue
            signer = _signer(response, issuer, pool, check_responder, rules)
            for single in singles:
                statement, why = _statement(response, single, certificate, issuer=issuer, signer=signer, moment=moment)
                statements.append(statement)
                problems.extend([why] if why is not None else [])
        except EncodingError as error:
            problems.append(f"{what} cannot be read: {error}")
        except VerificationError as error:
            problems.append(f"{what} does not count: {error}")
    return statements


def _statement(
    response: OCSPResponse,
    single: SingleResponse,
    certificate: PathCertificate,
    *,
    issuer: PathCertificate,
    signer: PathCertificate,
    moment: Moment,
) -> tuple[Statement, str | None]:
    """Return what a response says, and why it proves nothing if it does not."""
    evidence = evidence_of(response, single)
    why = (
        f"{label(evidence)} says that the responder does not know {certificate.name}"
        if single.unknown
        else why_not_current(evidence, moment)
        or _why_signer_ended(signer, issuer, evidence, moment)
        or (
            why_silent_about_expired(evidence, certificate, archive_cutoff(single.extensions))
            if single.revoked is None
            else None
        )
        or _why_not_understood(response, single, evidence)
    )
    entries = (single.revoked,) if single.revoked is not None else ()
    mask = 0 if why is not None else ALL_REASONS
    return Statement(evidence=evidence, entries=entries, reasons_mask=mask), why


def _why_signer_ended(
    signer: PathCertificate, issuer: PathCertificate, evidence: RevocationEvidence, moment: Moment
) -> str | None:
    """Say that the certificate of the issuer, or of its responder, ended; None when the response counts.

    Nobody revokes a key that ended, so a responder's word ends with it. An issuer's word, as in a CRL, counts as long
    as it was given before the end.
    """
    if evidence.this_update > issuer.not_after:
        made = f"{label(evidence)} was made at {text(evidence.this_update)}"
        return f"{made}, after {issuer.name} ended at {text(issuer.not_after)}"
    if signer.der == issuer.der or moment.at <= signer.not_after:
        return None
    return f"{label(evidence)} is by {signer.name}, which ended at {text(signer.not_after)}, before {text(moment.at)}"


def _why_not_understood(response: OCSPResponse, single: SingleResponse, evidence: RevocationEvidence) -> str | None:
    for extensions, known in ((response.extensions, _PROCESSED), (single.extensions, _PROCESSED_OF_ONE)):
        for oid, extension in extensions.items():
            if extension.critical and oid not in known:
                return f"{label(evidence)} has an unknown critical extension, {oid}"
    return None


def hash_of_cert_id(identifier: bytes) -> hashes.HashAlgorithm:
    """Return the hash of a CertID's AlgorithmIdentifier; raises EncodingError for one that is not supported."""
    oid = hash_identifier(identifier)
    if oid not in _HASHES:
        raise EncodingError(f"it names certificates by the hash algorithm {oid}, which is not supported")
    return _HASHES[oid]


def _is_about(cert_id: CertID, certificate: PathCertificate, issuer: PathCertificate) -> bool:
    if cert_id.serial_number != certificate.serial_der:
        return False
    algorithm = hash_of_cert_id(cert_id.hash_algorithm)
    return (
        cert_id.issuer_name_hash == _digest(algorithm, certificate.issuer)
        and cert_id.issuer_key_hash == _digest(algorithm, subject_public_key(issuer))
    )  # fmt: skip


def _digest(algorithm: hashes.HashAlgorithm, data: bytes) -> bytes:
    state = hashes.Hash(algorithm)
    state.update(data)
    return state.finalize()


def subject_public_key(certificate: PathCertificate) -> bytes:
    """Return the bits of subjectPublicKey, without the SubjectPublicKeyInfo around them, whatever the key is."""
    data = certificate.der
    _, start, end = der.read(data, 0, len(data))
    _, position, end = der.read(data, start, end)
    if data[position] == 0xA0:  # version
        position = der.read(data, position, end)[2]
    for _ in range(5):  # serialNumber, signature, issuer, validity, subject
        position = der.read(data, position, end)[2]
    _, start, end = der.read(data, position, end)
    algorithm_end = der.read(data, start, end)[2]
    _, bits, bits_end = der.read(data, algorithm_end, end)
    return data[bits + 1 : bits_end]


def _signer(
    response: OCSPResponse,
    issuer: PathCertificate,
    pool: Sequence[PathCertificate],
    check_responder: ResponderCheck,
    rules: AlgorithmRules,
) -> PathCertificate:
    """Return the issuer, or its appointed responder, whichever signed (RFC 6960 4.2.2.2)."""
    reason: VerificationError | None = None
    for signer in _responders(response, issuer, pool):
        try:
            if signer.der != issuer.der:
                _check_appointed(signer, issuer, response, rules)
            _check_signature(response, signer, rules)
            if signer.der != issuer.der:
                check_responder(signer, issuer)
        except VerificationError as error:
            reason = error
        else:
            return signer
    raise reason or PathError(f"it is signed neither by {issuer.name} nor by a responder of its own")


def _responders(
    response: OCSPResponse, issuer: PathCertificate, pool: Sequence[PathCertificate]
) -> Iterable[PathCertificate]:
    """Return the certificates that the responderID names, by name or by key hash, at most a few."""
    embedded: list[PathCertificate] = []
    for data in response.certificates:
        try:
            embedded.append(PathCertificate.from_der(data))
        except VerificationError:
            continue  # one that cannot be read is not the responder's, or nobody can tell
    found = [certificate for certificate in (issuer, *embedded, *pool) if _is_named(response, certificate)]
    return list({certificate.der: certificate for certificate in found}.values())[:_MAX_RESPONDERS]


def _is_named(response: OCSPResponse, certificate: PathCertificate) -> bool:
    if response.responder_name is not None:
        return certificate.subject_name == comparable_name(response.responder_name)
    return _digest(_HASHES[oids.SHA1], subject_public_key(certificate)) == response.responder_key_hash


def _check_appointed(
    responder: PathCertificate, issuer: PathCertificate, response: OCSPResponse, rules: AlgorithmRules
) -> None:
    """Raise a VerificationError unless the issuer itself issued this certificate, for OCSP."""
    if responder.issuer_name != issuer.subject_name:
        raise PathError(f"its signer {responder.name} was not appointed by {issuer.name}")
    responder.check_signed_by(issuer, rules)
    purposes = responder.value(ExtensionOID.EXTENDED_KEY_USAGE) or ()
    if ExtendedKeyUsageOID.OCSP_SIGNING not in purposes:
        raise PathError(f"its signer {responder.name} is not for signing OCSP responses")
    usage = responder.value(ExtensionOID.KEY_USAGE)
    if usage is not None and not (usage.digital_signature or usage.content_commitment):
        raise PathError(f"the key usage of its signer {responder.name} permits no signatures")
    responder.check_critical_extensions()
    responder.check_time(response.produced_at)


def is_exempt(responder: PathCertificate) -> bool:
    """Say whether id-pkix-ocsp-nocheck frees a responder from being checked itself (RFC 6960 4.2.2.2.1)."""
    return _NO_CHECK in responder.extensions


def _check_signature(response: OCSPResponse, signer: PathCertificate, rules: AlgorithmRules) -> None:
    try:
        scheme = certificate_signature_scheme(response.signature_algorithm, rules)
        signer.check_signature(scheme, response.signature, response.signed_bytes, rules)
    except EncodingError as error:
        raise PathError(f"its signature algorithm cannot be read: {error}") from None
    except exceptions.InvalidSignature:
        raise PathError(f"its signature is not one by {signer.name}") from None
