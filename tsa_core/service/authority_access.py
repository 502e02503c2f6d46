"""What plugins' routes, and the core's own page, may know of the authority and ask of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tsa_core.api import AuthorityAccess, ClockReport, Countersigner, ProfileReport, RouteRequest
from tsa_core.authority import CauseKind, ClockState, RequestTrace, TimestampAuthority, context_of
from tsa_core.service.readiness_watch import ReadinessWatch

_CLOCK: Final[Mapping[ClockState, str]] = {
    ClockState.UNMONITORED: "No monitor watches the clock; the operator vouches for it.",
    ClockState.SYNCHRONISED: "The clock is watched, and right.",
    ClockState.HOLDOVER: "The clock was right when it was last measured, and is still within its bounds.",
    ClockState.LEAP: "A leap second makes the time ambiguous.",
    ClockState.STEPPED: "The clock was set, and has not been measured since.",
    ClockState.UNSYNCHRONISED: "The clock cannot be trusted now.",
}

_STOPPED: Final[Mapping[CauseKind, str]] = {
    CauseKind.SIGNER: "The signer cannot sign.",
    CauseKind.CERTIFICATE: "The certificate or its key may not be used now.",
    CauseKind.CLOCK: "The clock cannot be trusted.",
    CauseKind.AUDIT: "The audit trail takes no records.",
    CauseKind.RESPONSE: "Replies cannot be completed.",
    CauseKind.POLICY: "The profile cannot be chosen.",
    CauseKind.GUARD: "The server cannot tell who may use it.",
}


class ServiceAccess(AuthorityAccess):
    """Reaches an opened authority; whoever opened that closes it. Texts hold nothing that clients must not see.

    Handlers are given up after `handler_seconds`.
    """

    def __init__(self, authority: TimestampAuthority, watch: ReadinessWatch, *, handler_seconds: float) -> None:
        self._authority = authority
        self.handler_seconds = handler_seconds
        self._watch = watch
        self._subjects = {
            name: profile.chain.leaf.subject.rfc4514_string() for name, profile in authority.profiles.items()
        }

    def profiles(self) -> Sequence[ProfileReport]:
        """Return the profiles, in the authority's order."""
        return [
            ProfileReport(
                name=name,
                path="/api/v1/timestamp" if name == "default" else f"/tsa/{name}",
                policies=profile.policies,
                algorithm=profile.algorithm.name,
                subject=self._subjects[name],
                accuracy=profile.settings.promised_accuracy,
                certificate_chain=profile.certificate_chain_pem,
                not_after=profile.not_after,
                stopped_by=tuple(_STOPPED[kind] for kind in self._watch.stopping(name)),
            )
            for name, profile in self._authority.profiles.items()
        ]

    def clock(self) -> ClockReport:
        """Return the clock's state."""
        status = self._authority.gate.status()
        text = _CLOCK[status.state]
        if status.error_bound is not None:
            text += f" It is off by {status.error_bound.total_seconds() * 1000:.1f} ms at most."
        if status.issuing and not status.state.trusted:
            text += " Timestamps are issued all the same."
        return ClockReport(
            state=status.state.value, trusted=status.state.trusted, text=text, error_bound=status.error_bound
        )

    def issue(self, query: bytes, request: RouteRequest, *, profile: str | None = None) -> bytes:
        """Answer a TimeStampReq; for a thread that may wait."""
        if profile is not None and profile not in self._authority.profiles:
            raise LookupError(f"there is no profile {profile[:64]!r}")
        trace = request.trace if isinstance(request.trace, RequestTrace) else None
        return self._authority.respond(query, context_of(request, profile), trace).der

    def countersigner(self, profile: str, *, protocol: str, sha1: bool = False) -> Countersigner:
        """Return what countersigns for a profile."""
        return self._authority.countersigner(profile, protocol=protocol, sha1=sha1, within=self.handler_seconds)
