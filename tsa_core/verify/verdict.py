"""What a verification says when it succeeds: who stated what, on whose word, and what nobody checked (rule V19)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from cryptography import x509

from tsa_core.paths.certificate import text
from tsa_core.paths.findings import RevocationFinding
from tsa_core.paths.notes import Note
from tsa_core.protocol.tstinfo import Accuracy
from tsa_core.protocol.tstinfo_reader import TSTInfo
from tsa_core.values import Value

if TYPE_CHECKING:
    from tsa_core.verify.log_evidence import LogEvidence


class VerifiedTimestamp(Value):
    """A timestamp that holds: the artifact existed at `gen_time`, says the owner of `signer_certificate`.

    `earliest` and `latest` bound the moment of signing by the stated accuracy; None means that the authority
    stated none, which is not the same as zero (rule V12). `path` runs from the signer to the root.
    `status` is 0 for granted and 1 for grantedWithMods; None for a bare token. `checked_at` is the moment for
    which the verdict speaks: `time`, if the caller gave one, else the moment of verification.
    `revocation_checked` says whether CRLs or OCSP responses covered the signer's certificate; `revocation`, what
    they say of each certificate of the path, and is empty when they were not asked.
    `proof` is the later timestamp that proves that this one existed at its time, None when none was given.
    `log` is what a proof from a public log shows, None when none was given.
    `notes` say what was accepted although it is unusual or weak; `unchecked`, what the verdict does not say.
    """

    tst_info: TSTInfo
    signer_certificate: x509.Certificate
    path: tuple[x509.Certificate, ...]
    status: int | None
    checked_at: datetime
    revocation_checked: bool
    revocation: tuple[RevocationFinding, ...] = ()
    notes: tuple[Note, ...] = ()
    proof: VerifiedTimestamp | None = None
    log: LogEvidence | None = None

    @property
    def gen_time(self) -> datetime:
        """The time that the authority states, in UTC."""
        return self.tst_info.gen_time

    @property
    def earliest(self) -> datetime | None:
        """The start of the interval in which the token was made; None when unknown."""
        return self.tst_info.earliest

    @property
    def latest(self) -> datetime | None:
        """The end of the interval in which the token was made; None when unknown."""
        return self.tst_info.latest

    @property
    def policy(self) -> str:
        """The policy under which the token was made, dotted."""
        return self.tst_info.policy

    @property
    def accuracy(self) -> Accuracy | None:
        """How far genTime may be from the moment of signing; None when the authority does not say."""
        return self.tst_info.accuracy

    @property
    def claims_qualified(self) -> bool:
        """Whether the token claims to be a qualified electronic timestamp (EN 319 422 9.1); nobody checked the claim.

        Whether its authority is qualified is in the trusted list of its country.
        """
        statements = self.tst_info.qc_statements
        return statements is not None and statements.claims_qualified

    @property
    def trust_anchor(self) -> x509.Certificate:
        """The trusted certificate at which the path ends; the signer's own where that one is trusted."""
        return self.path[-1]

    @property
    def unchecked(self) -> tuple[Note, ...]:
        """What this verdict does not say, because nothing was given from which it could be known (rule V19)."""
        return tuple(_unchecked(self))


def _unchecked(verdict: VerifiedTimestamp) -> Iterator[Note]:
    if not verdict.revocation_checked:
        found = verdict.revocation[0].detail if verdict.revocation else "no CRL and no OCSP response was given"
        yield Note(code="no-revocation-data", text=f"whether the signer's certificate was revoked: {found}")
    for position, certificate in enumerate(verdict.path):
        ended = certificate.not_valid_after_utc
        if ended < verdict.checked_at:
            whose = ("signer's" if position == 0 else "root's") if position in {0, len(verdict.path) - 1} else "CA's"
            yield Note(
                code="certificate-ended",
                text=f"what became of the {whose} key after its certificate ended on {text(ended)}",
            )
    yield from _unchecked_interval(verdict)
    yield from _unchecked_clocks(verdict)
    if verdict.claims_qualified:
        yield Note(
            code="qualified-status",
            text="whether the authority is qualified, as the token claims: that is in the trusted list of its country",
        )


def _unchecked_interval(verdict: VerifiedTimestamp) -> Iterator[Note]:
    earliest, latest = verdict.earliest, verdict.latest
    if earliest is None or latest is None:
        yield Note(code="no-accuracy", text="how far the time may be off: the authority states no accuracy")
        return
    begin = max(certificate.not_valid_before_utc for certificate in verdict.path)
    end = min(certificate.not_valid_after_utc for certificate in verdict.path)
    if earliest < begin:
        yield Note(
            code="accuracy-crosses-begin",
            text=f"whether it was made after the certificates began at {text(begin)}: it may be from {text(earliest)}",
        )
    if latest > end:
        yield Note(
            code="accuracy-crosses-end",
            text=f"whether it was made before the certificates ended at {text(end)}: it may be from {text(latest)}",
        )


def _unchecked_clocks(verdict: VerifiedTimestamp) -> Iterator[Note]:
    ahead = (verdict.earliest or verdict.gen_time) - verdict.checked_at
    if ahead.days < 0:
        return
    # Not at the top: most timestamps are of the past, and a command would pay for it.
    from tsa_core.paths.statements import MAX_CLOCK_SKEW

    if ahead > MAX_CLOCK_SKEW:
        yield Note(
            code="time-ahead",
            text=f"which of two clocks is wrong: genTime is after {text(verdict.checked_at)}, when it was verified",
        )
