"""CRL validation (RFC 5280 6.3): what the CRLs at hand state about one certificate.

The names are those of the RFC: reasons_mask, interim_reasons_mask, and steps (a) to (l) of 6.3.3. Unlike
there, no list is skipped once all reasons are covered, so that a list that revokes is heeded wherever it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from cryptography.x509 import ReasonFlags
from cryptography.x509.oid import ExtensionOID

from tsa_core.paths.certificate import PathCertificate
from tsa_core.paths.crl_reader import AUTHORITY_KEY_IDENTIFIER, ISSUING_DISTRIBUTION_POINT, CertificateList, Entry
from tsa_core.paths.distribution_points import (
    DistributionPoint,
    point_name,
    read_distribution_points,
)
from tsa_core.paths.errors import VerificationError
from tsa_core.paths.findings import RevocationEvidence
from tsa_core.paths.reasons import ALL_REASONS, TEMPORARY
from tsa_core.paths.statements import Moment, Statement, label, why_not_current, why_silent_about_expired
from tsa_core.protocol.errors import EncodingError

CrlSigner = Callable[[CertificateList, PathCertificate], PathCertificate]
"""Returns who signed a CRL, given the issuer of the certificate in question; raises a VerificationError."""

_MAX_DELTAS: Final = 16


def evidence_of(crl: CertificateList) -> RevocationEvidence:
    """Return what findings say of a CRL."""
    return RevocationEvidence(
        kind="CRL" if crl.base_number is None else "delta CRL",
        source=crl.source,
        this_update=crl.this_update,
        next_update=crl.next_update,
    )


def crl_statements(
    certificate: PathCertificate,
    issuer: PathCertificate,
    crls: Sequence[CertificateList],
    *,
    moment: Moment,
    signer_of: CrlSigner,
    problems: list[str],
) -> list[Statement]:
    """Return what authentic CRLs state of a certificate; why others do not count is added to `problems`."""
    points = _points(certificate)
    statements: list[Statement] = []
    elsewhere: list[str] = []
    deltas: list[tuple[CertificateList, PathCertificate]] = []
    complete: list[tuple[CertificateList, PathCertificate, int]] = []
    for crl in crls:
        if not _is_named(crl, certificate, points):
            elsewhere.append(f"{label(evidence_of(crl))} is by another issuer than that of {certificate.name}")
            continue
        interim_reasons_mask = _interim_reasons_mask(crl, certificate, points, problems)
        if not interim_reasons_mask:
            continue
        try:
            signer = signer_of(crl, issuer)  # steps (f) and (g)
        except VerificationError as error:
            problems.append(f"{label(evidence_of(crl))} does not count: {error}")
            continue
        if crl.base_number is None:
            complete.append((crl, signer, interim_reasons_mask))
        else:
            deltas.append((crl, signer))
    used: set[int] = set()
    for crl, signer, interim_reasons_mask in complete:
        delta = _newest_delta(crl, signer, deltas[:_MAX_DELTAS], moment)
        if delta is not None:
            used.add(id(delta))
        statements.append(_statement(certificate, crl, delta, interim_reasons_mask, moment=moment, problems=problems))
    for crl, _ in deltas:
        if id(crl) not in used:
            problems.append(f"{label(evidence_of(crl))} is of no use without the base that it continues")
            statements.append(_statement_of_delta_alone(certificate, crl, problems))
    problems.extend(elsewhere)
    return statements


def _points(certificate: PathCertificate) -> tuple[DistributionPoint, ...]:
    """Return the certificate's distribution points, and last its issuer's own list, which any certificate has."""
    own = DistributionPoint(
        names=frozenset({point_name(certificate.issuer_name)}),
        urls=(),
        reasons=ALL_REASONS,
        crl_issuers=frozenset(),
    )
    value = certificate.raw_value(ExtensionOID.CRL_DISTRIBUTION_POINTS)
    if value is None:
        return (own,)
    try:
        return (*read_distribution_points(value, certificate.issuer), own)
    except EncodingError:
        return (own,)


def _is_named(crl: CertificateList, certificate: PathCertificate, points: Iterable[DistributionPoint]) -> bool:
    """Say whether the CRL is by the certificate's issuer, or by one that its distribution points name."""
    issuer = crl.issuer_name
    return issuer == certificate.issuer_name or any(issuer in point.crl_issuers for point in points)


def _interim_reasons_mask(
    crl: CertificateList, certificate: PathCertificate, points: Iterable[DistributionPoint], problems: list[str]
) -> int:
    """Return for which reasons the CRL is about the certificate, 0 when it is not (steps (b), (d))."""
    from_issuer = crl.issuer_name == certificate.issuer_name
    issuing = crl.issuing_point
    interim_reasons_mask = 0
    for point in points:
        if point.crl_issuers:
            if crl.issuer_name not in point.crl_issuers or not crl.indirect:
                continue
        elif not from_issuer:
            continue
        if issuing is not None and issuing.names is not None:
            names = point.names or frozenset(map(point_name, point.crl_issuers))
            if not names & issuing.names:
                continue
        interim_reasons_mask |= point.reasons
    what = label(evidence_of(crl))
    if not interim_reasons_mask:
        problems.append(f"{what} is for another distribution point than those of {certificate.name}")
        return 0
    if issuing is None:
        return interim_reasons_mask
    if issuing.only_attribute_certs or (issuing.only_ca_certs if not certificate.is_ca else issuing.only_user_certs):
        problems.append(f"{what} is not about certificates like {certificate.name}")
        return 0
    return interim_reasons_mask & issuing.reasons


def _newest_delta(
    crl: CertificateList,
    signer: PathCertificate,
    deltas: Iterable[tuple[CertificateList, PathCertificate]],
    moment: Moment,
) -> CertificateList | None:
    """Return the newest delta CRL that counts and continues a complete one (RFC 5280 5.2.4; steps (c), (h))."""
    fitting = [
        (delta.number, delta)
        for delta, delta_signer in deltas
        if crl.number is not None
        and delta.number is not None
        and delta.base_number is not None
        and delta.base_number <= crl.number < delta.number
        and delta_signer.der == signer.der
        and delta.issuer_name == crl.issuer_name
        and all(
            delta.extensions.get(oid) == crl.extensions.get(oid)
            for oid in (ISSUING_DISTRIBUTION_POINT, AUTHORITY_KEY_IDENTIFIER)
        )
        and why_not_current(evidence_of(delta), moment) is None
        and _why_not_understood(delta) is None
    ]
    return max(fitting, key=lambda pair: pair[0])[1] if fitting else None


def _statement(
    certificate: PathCertificate,
    crl: CertificateList,
    delta: CertificateList | None,
    interim_reasons_mask: int,
    *,
    moment: Moment,
    problems: list[str],
) -> Statement:
    """Return what a complete CRL, continued by a delta if there is one, states (steps (a), (i) to (l))."""
    evidence = evidence_of(delta if delta is not None else crl)
    lists = (crl,) if delta is None else (crl, delta)
    why = why_not_current(evidence, moment) or next(filter(None, map(_why_not_understood, lists)), None)
    entries: tuple[Entry, ...] = ()
    try:
        entries = crl.find(certificate.issuer_name, certificate.serial_der)
        changes = delta.find(certificate.issuer_name, certificate.serial_der) if delta is not None else ()
    except EncodingError as error:
        why = f"{label(evidence_of(crl))} cannot be read: {error}"
    else:
        if changes:
            # What the delta says replaces a hold; nothing undoes any other revocation.
            entries = tuple(entry for entry in entries if entry.reason not in TEMPORARY)
            entries += tuple(entry for entry in changes if entry.reason is not ReasonFlags.remove_from_crl)
    if why is None and not entries:
        # A base that dropped the certificate stays silent about it, whatever a delta keeps.
        why = why_silent_about_expired(evidence_of(crl), certificate, crl.expired_certs_since)
        if why is None and delta is not None:
            kept_since = delta.expired_certs_since or crl.expired_certs_since
            why = why_silent_about_expired(evidence, certificate, kept_since)
    if why is not None:
        problems.append(why)
    return Statement(evidence=evidence, entries=entries, reasons_mask=0 if why is not None else interim_reasons_mask)


def _statement_of_delta_alone(certificate: PathCertificate, crl: CertificateList, problems: list[str]) -> Statement:
    """Return what a delta CRL without its base states: a revocation, perhaps, but never that there is none."""
    entries: tuple[Entry, ...] = ()
    try:
        entries = crl.find(certificate.issuer_name, certificate.serial_der)
    except EncodingError as error:
        problems.append(f"{label(evidence_of(crl))} cannot be read: {error}")
    kept = tuple(entry for entry in entries if entry.reason is not ReasonFlags.remove_from_crl)
    return Statement(evidence=evidence_of(crl), entries=kept, reasons_mask=0)


def _why_not_understood(crl: CertificateList) -> str | None:
    what = label(evidence_of(crl))
    if crl.unknown_critical is not None:
        return f"{what} has an unknown critical extension, {crl.unknown_critical}"
    try:
        unknown = crl.unknown_critical_in_entries
    except EncodingError as error:
        return f"{what} cannot be read: {error}"
    return f"{what} has an entry with an unknown critical extension, {unknown}" if unknown is not None else None
