"""Revocation with the CRLs and OCSP responses that the caller gives (rule V9, RFC 3161 4)."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography import exceptions, x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import CRLEntryExtensionOID, ExtendedKeyUsageOID, ExtensionOID

from tsa_core.paths.building import Path
from tsa_core.paths.certificate import PathCertificate, text
from tsa_core.paths.errors import (
    CertificateRevoked,
    PathError,
    RevocationUnknown,
    VerificationError,
    WeakAlgorithm,
)
from tsa_core.paths.findings import RevocationEvidence, RevocationFinding, RevocationStatus

_HARMLESS_BEFORE: Final = frozenset(
    {
        x509.ReasonFlags.unspecified,
        x509.ReasonFlags.affiliation_changed,
        x509.ReasonFlags.superseded,
        x509.ReasonFlags.cessation_of_operation,
    }
)
"""Reasons that leave earlier tokens good (RFC 3161 4); giving no reason at all is not one of them."""

_CRL_EXTENSIONS: Final = frozenset(
    {
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.CRL_NUMBER,
        ExtensionOID.ISSUING_DISTRIBUTION_POINT,
        ExtensionOID.FRESHEST_CRL,
    }
)
MAX_REVOCATION_OCTETS: Final = 64 << 20


class RevocationScope(enum.Enum):
    """Which certificates of the path must be covered; whatever is covered beyond is heeded too."""

    SIGNER = "signer"
    PATH = "path"


@dataclass(frozen=True, kw_only=True)
class Revocation:
    """CRLs and OCSP responses to check a path against, and how much of the path they must cover."""

    crls: tuple[x509.CertificateRevocationList, ...] = ()
    ocsp_responses: tuple[ocsp.OCSPResponse, ...] = ()
    scope: RevocationScope = RevocationScope.SIGNER

    @classmethod
    def from_files(
        cls,
        crls: Iterable[bytes] = (),
        ocsp_responses: Iterable[bytes] = (),
        scope: RevocationScope = RevocationScope.SIGNER,
    ) -> Revocation:
        """Read CRLs, PEM or DER, and DER OCSP responses; raises RevocationUnknown for what cannot be read."""
        try:
            return cls(
                crls=tuple(
                    x509.load_pem_x509_crl(data) if b"-----BEGIN" in data else x509.load_der_x509_crl(data)
                    for data in crls
                ),
                ocsp_responses=tuple(map(ocsp.load_der_ocsp_response, ocsp_responses)),
                scope=scope,
            )
        except ValueError as error:
            raise RevocationUnknown(f"a CRL or OCSP response cannot be read: {error}") from None

    def check(self, path: Path, time: datetime) -> tuple[RevocationFinding, ...]:
        """Return what is known of each certificate but the root, if a token made at `time` is good.

        Raises CertificateRevoked or RevocationUnknown.
        """
        findings: list[RevocationFinding] = []
        for position, certificate in enumerate(path.certificates[:-1]):
            issuer = path.certificates[position + 1]
            problems: list[str] = []
            evidence = [
                _evidence("CRL", crl.last_update_utc, crl.next_update_utc)
                for crl in self.crls
                if _check_crl(crl, certificate, issuer, time, problems)
            ]
            for response in self.ocsp_responses:
                if _check_ocsp(response, certificate, issuer, time, problems):
                    single = next(iter(response.responses))
                    evidence.append(_evidence("OCSP response", single.this_update_utc, single.next_update_utc))
            why = f": {problems[0]}" if problems else ""
            detail = "" if evidence else f"nothing given tells whether {certificate.name} was revoked{why}"
            if detail and (position == 0 or self.scope is RevocationScope.PATH):
                raise RevocationUnknown(detail)
            findings.append(
                RevocationFinding(
                    certificate=certificate.certificate,
                    status=RevocationStatus.NOT_CHECKED if detail else RevocationStatus.GOOD,
                    evidence=tuple(evidence),
                    detail=detail,
                )
            )
        return tuple(findings)


def _evidence(kind: str, this_update: datetime, next_update: datetime | None) -> RevocationEvidence:
    return RevocationEvidence(kind=kind, source="", this_update=this_update, next_update=next_update)


def _check_crl(
    crl: x509.CertificateRevocationList,
    certificate: PathCertificate,
    issuer: PathCertificate,
    time: datetime,
    problems: list[str],
) -> bool:
    """Say whether the CRL covers the certificate at `time`; raises CertificateRevoked if it is bad."""
    if crl.issuer != certificate.certificate.issuer:
        return False
    try:
        _check_crl_is_usable(crl, certificate, issuer)
    except VerificationError as error:
        problems.append(str(error))
        return False
    entry = crl.get_revoked_certificate_by_serial_number(certificate.certificate.serial_number)
    if entry is not None:
        _judge(certificate, entry.revocation_date_utc, _entry_reason(entry), time)
    if crl.next_update_utc is not None and crl.next_update_utc < time:
        problems.append(f"the CRL ended at {text(crl.next_update_utc)}, before {text(time)}")
        return False
    return True


def _entry_reason(entry: x509.RevokedCertificate) -> x509.ReasonFlags | None:
    try:
        for extension in entry.extensions:
            if extension.oid == CRLEntryExtensionOID.CRL_REASON:
                assert isinstance(extension.value, x509.CRLReason)  # noqa: S101 - its identifier says so
                return extension.value.reason
    except ValueError:
        pass  # an entry that cannot be read gives no reason, which is the strictest of all
    return None


def _check_crl_is_usable(
    crl: x509.CertificateRevocationList, certificate: PathCertificate, issuer: PathCertificate
) -> None:
    """Raise a VerificationError unless the CRL is the issuer's own, whole, and about such certificates."""
    usage = issuer.value(ExtensionOID.KEY_USAGE)
    if usage is not None and not usage.crl_sign:
        raise PathError(f"the key usage of {issuer.name} does not permit signing CRLs")
    try:
        algorithm = crl.signature_hash_algorithm
        extensions = list(crl.extensions)
        signed = crl.is_signature_valid(issuer.public_key)
    except (ValueError, TypeError, exceptions.UnsupportedAlgorithm) as error:
        raise PathError(f"the CRL cannot be checked: {error}") from None
    if algorithm is not None and algorithm.name in {"md5", "sha1"}:
        raise WeakAlgorithm(f"the CRL is signed with {algorithm.name}")
    if not signed:
        raise PathError(f"the CRL is not signed by {issuer.name}")
    for extension in extensions:
        if extension.oid == ExtensionOID.ISSUING_DISTRIBUTION_POINT:
            _check_distribution_point(extension.value, certificate)
        elif extension.oid == ExtensionOID.DELTA_CRL_INDICATOR:
            raise PathError("a delta CRL alone says nothing about what its base holds")
        elif extension.critical and extension.oid not in _CRL_EXTENSIONS:
            raise PathError(f"the CRL has an unknown critical extension, {extension.oid.dotted_string}")


def _check_distribution_point(point: x509.ExtensionType, certificate: PathCertificate) -> None:
    assert isinstance(point, x509.IssuingDistributionPoint)  # noqa: S101 - its identifier says so
    if point.indirect_crl or point.only_some_reasons or point.only_contains_attribute_certs:
        raise PathError("indirect CRLs and CRLs for some reasons only are not supported")
    if (point.only_contains_user_certs and certificate.is_ca) or (
        point.only_contains_ca_certs and not certificate.is_ca
    ):
        raise PathError(f"the CRL is not about certificates like {certificate.name}")
    if point.full_name:
        own = certificate.value(ExtensionOID.CRL_DISTRIBUTION_POINTS) or ()
        if not any(name in (p.full_name or ()) for p in own for name in point.full_name):
            raise PathError(f"the CRL is for another distribution point than that of {certificate.name}")


def _judge(certificate: PathCertificate, since: datetime, reason: x509.ReasonFlags | None, time: datetime) -> None:
    """Raise CertificateRevoked unless the revocation leaves tokens made at `time` good (RFC 3161 4)."""
    name = reason.value if reason is not None else "no reason given"
    if reason not in _HARMLESS_BEFORE:
        raise CertificateRevoked(
            f"{certificate.name} was revoked at {text(since)} ({name}), so no token of it can be relied on"
        )
    if since <= time:
        raise CertificateRevoked(f"{certificate.name} was revoked at {text(since)} ({name}), before {text(time)}")


def _check_ocsp(
    response: ocsp.OCSPResponse,
    certificate: PathCertificate,
    issuer: PathCertificate,
    time: datetime,
    problems: list[str],
) -> bool:
    """Say whether the response covers the certificate at `time`; raises CertificateRevoked if it is bad."""
    if response.response_status != ocsp.OCSPResponseStatus.SUCCESSFUL:
        problems.append(f"the OCSP responder answered {response.response_status.name}")
        return False
    singles = [single for single in response.responses if _is_about(single, certificate, issuer)]
    if not singles:
        return False
    try:
        _check_responder(response, issuer)
    except VerificationError as error:
        problems.append(str(error))
        return False
    covered = False
    for single in singles:
        if single.certificate_status == ocsp.OCSPCertStatus.REVOKED:
            since = single.revocation_time_utc or datetime.min.replace(tzinfo=UTC)
            _judge(certificate, since, single.revocation_reason, time)
            covered = True
        elif single.certificate_status == ocsp.OCSPCertStatus.UNKNOWN:
            problems.append(f"the OCSP responder does not know {certificate.name}")
        elif single.next_update_utc is not None and single.next_update_utc < time:
            problems.append(f"the OCSP response ended at {text(single.next_update_utc)}, before {text(time)}")
        elif single.next_update_utc is None and single.this_update_utc < time:
            problems.append(f"the OCSP response is from {text(single.this_update_utc)}, before {text(time)}")
        else:
            covered = True
    return covered


def _is_about(single: ocsp.OCSPSingleResponse, certificate: PathCertificate, issuer: PathCertificate) -> bool:
    if single.serial_number != certificate.certificate.serial_number:
        return False
    # SHA-1 names the issuer here and protects nothing; the response's signature does that.
    name, key = hashes.Hash(single.hash_algorithm), hashes.Hash(single.hash_algorithm)
    name.update(issuer.subject)
    key.update(_subject_public_key(issuer.certificate))
    return single.issuer_name_hash == name.finalize() and single.issuer_key_hash == key.finalize()


def _subject_public_key(certificate: x509.Certificate) -> bytes:
    """Return the bits of subjectPublicKey, without the SubjectPublicKeyInfo around them."""
    from tsa_core.protocol import der

    info = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    _, start, end = der.read(info, 0, len(info))
    _, _, algorithm_end = der.read(info, start, end)
    _, bits, _ = der.read(info, algorithm_end, end)
    return info[bits + 1 :]


def _check_responder(response: ocsp.OCSPResponse, issuer: PathCertificate) -> None:
    """Raise PathError unless the issuer, or its appointed responder, signed (RFC 6960 4.2.2.2)."""
    algorithm = response.signature_hash_algorithm
    if algorithm is not None and algorithm.name in {"md5", "sha1"}:
        raise WeakAlgorithm(f"the OCSP response is signed with {algorithm.name}")
    signers: Sequence[PathCertificate] = (issuer, *map(PathCertificate, response.certificates[:4]))
    for signer in signers:
        if signer is not issuer and not _is_appointed(signer, issuer, response):
            continue
        if _signed_by(response, signer.public_key, algorithm):
            return
    raise PathError(f"the OCSP response is signed neither by {issuer.name} nor by a responder of its own")


def _is_appointed(responder: PathCertificate, issuer: PathCertificate, response: ocsp.OCSPResponse) -> bool:
    try:
        if responder.issuer != issuer.subject:
            return False
        responder.check_signed_by(issuer)
        purposes = responder.value(ExtensionOID.EXTENDED_KEY_USAGE) or ()
        responder.check_critical_extensions()
        for single in response.responses:
            responder.check_time(single.this_update_utc)
    except VerificationError:
        return False
    return ExtendedKeyUsageOID.OCSP_SIGNING in purposes


def _signed_by(response: ocsp.OCSPResponse, key: object, algorithm: hashes.HashAlgorithm | None) -> bool:
    signature, signed = response.signature, response.tbs_response_bytes
    try:
        if isinstance(key, rsa.RSAPublicKey) and algorithm is not None:
            key.verify(signature, signed, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm is not None:
            key.verify(signature, signed, ec.ECDSA(algorithm))
        elif algorithm is None:
            key.verify(signature, signed)  # type: ignore[attr-defined]  # EdDSA or ML-DSA, checked before
        else:
            return False
    except (exceptions.InvalidSignature, TypeError):
        return False
    return True
