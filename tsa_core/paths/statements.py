"""What CRLs and OCSP responses state about one certificate, and what follows from all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from tsa_core.paths.certificate import PathCertificate, text
from tsa_core.paths.crl_reader import Entry
from tsa_core.paths.errors import CertificateRevoked
from tsa_core.paths.findings import RevocationEvidence
from tsa_core.paths.reasons import ALL_REASONS, HARMLESS_BEFORE, HOLD_REASON, TEMPORARY

MAX_CLOCK_SKEW: Final = timedelta(minutes=5)
"""How far ahead of the moment of verification evidence may be dated, because clocks differ."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """For when evidence must speak: `at`, aware; `max_age` limits what does not say when it ends."""

    at: datetime
    max_age: timedelta


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What one authentic CRL or response says: the certificate's `entries`, and for which reasons it would have some.

    `reasons_mask` is 0 when the absence of an entry proves nothing: stale, of another scope, or not understood.
    """

    evidence: RevocationEvidence
    entries: tuple[Entry, ...]
    reasons_mask: int


def label(evidence: RevocationEvidence) -> str:
    """Return the kind and the source of evidence for error texts."""
    return f"the {evidence.kind} {evidence.source}".rstrip()


def why_not_current(evidence: RevocationEvidence, moment: Moment) -> str | None:
    """Say why evidence does not speak for the moment of verification; None when it does."""
    if evidence.this_update > moment.at + MAX_CLOCK_SKEW:
        return f"{label(evidence)} is from {text(evidence.this_update)}, after {text(moment.at)}"
    if evidence.next_update is not None:
        if evidence.next_update < moment.at:
            return f"{label(evidence)} is stale: it ended at {text(evidence.next_update)}, before {text(moment.at)}"
    elif evidence.this_update < moment.at - moment.max_age:
        days = moment.max_age / timedelta(days=1)
        return (
            f"{label(evidence)} is stale: it is from {text(evidence.this_update)}, does not say when it ends, "
            f"and is older than {days:g} days"
        )
    return None


def why_silent_about_expired(
    evidence: RevocationEvidence, certificate: PathCertificate, kept_since: datetime | None
) -> str | None:
    """Say why evidence made after the certificate's end proves nothing; None when it does, or was made before.

    Authorities drop certificates that have ended (RFC 5280 3.3), unless they say that they keep those that
    ended since `kept_since`.
    """
    ended = certificate.not_after
    if evidence.this_update <= ended or (kept_since is not None and kept_since <= ended):
        return None
    return (
        f"{label(evidence)} was made at {text(evidence.this_update)}, after {certificate.name} ended, "
        "and does not say that it keeps such certificates"
    )


def covered(statements: Sequence[Statement]) -> bool:
    """Say whether all reasons are covered between them (RFC 5280 6.3.3: reasons_mask is all-reasons)."""
    reasons_mask = 0
    for statement in statements:
        reasons_mask |= statement.reasons_mask
    return reasons_mask == ALL_REASONS


def judge(certificate: PathCertificate, statements: Sequence[Statement], latest: datetime) -> str:
    """Raise CertificateRevoked unless what was signed until `latest` is good (RFC 3161 4).

    Returns the words for a revocation that came later and is harmless, empty when there was none. A bad word
    outweighs any number of good ones, except that a hold ends when a later list no longer has it.
    """
    later = ""
    for statement in statements:
        for entry in statement.entries:
            if entry.reason in TEMPORARY and _lifted(statement, statements):
                continue
            later = _judge(certificate, statement.evidence, entry, latest)
    return later


def _lifted(held: Statement, statements: Sequence[Statement]) -> bool:
    return any(
        other.reasons_mask & HOLD_REASON
        and not other.entries
        and other.evidence.this_update > held.evidence.this_update
        for other in statements
    )


def _judge(certificate: PathCertificate, evidence: RevocationEvidence, entry: Entry, latest: datetime) -> str:
    reason = entry.reason.value if entry.reason is not None else "no reason given"
    since = entry.revocation_date
    when = f" at {text(since)}" if since is not None else ""
    words = f"{certificate.name} was revoked{when} ({reason}), says {label(evidence)}"
    if since is None or entry.reason not in HARMLESS_BEFORE:
        raise CertificateRevoked(f"{words}; no signature of it can be relied on")
    if since <= latest:
        raise CertificateRevoked(f"{words}, which is not after {text(latest)}")
    if entry.invalidity_date is not None and entry.invalidity_date <= latest:
        raise CertificateRevoked(
            f"{words}, and invalid since {text(entry.invalidity_date)}, which is not after {text(latest)}"
        )
    return words
