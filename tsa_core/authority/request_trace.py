"""Request tracing: what happened to one request and when, for observers, metrics and the access log."""

from __future__ import annotations

from time import perf_counter_ns
from typing import TypeAlias

from tsa_core.api import Identity, PKIFailureInfo, RequestContext, RequestOutcome, TimeStampReq

PHASES = ("parse", "wait", "clock", "sign", "audit")
"""The timed phases: reading the request, waiting for a thread, reading the clock, signing, and response processors with
audit sinks."""


GUARD_ROUTE = "guard"
"""In place of the route of a request that a guard has refused."""


class RequestTrace:
    """The times of one request's phases, by perf_counter_ns(); 0 for a phase that did not begin.

    A request failed in the phase that began and did not end. What only an outcome tells (`context`, and the phases
    parse and clock) is noted where there are observers. Defaults are class attributes: to make a trace takes 0.1 us.
    """

    parse_ended = 0
    wait_began = 0
    wait_ended = 0
    clock_began = 0
    clock_ended = 0
    sign_began = 0
    sign_ended = 0
    audit_began = 0
    audit_ended = 0
    ended = 0
    context: RequestContext | None = None
    request: TimeStampReq | None = None
    profile: str | None = None
    algorithm: str | None = None
    serial_der = b""
    failure: PKIFailureInfo | None = None
    reason = ""
    identity: Identity | None = None

    def __init__(self) -> None:
        self.started = perf_counter_ns()

    @property
    def hash_name(self) -> str | None:
        """The imprint's hash algorithm, when the request was read and the core knows the algorithm."""
        known = self.request.hash_algorithm if self.request else None
        return known.name if known else None

    @property
    def serial_number(self) -> int | None:
        """The serial number of the token that was issued; a countersignature has none."""
        return int.from_bytes(self.serial_der[2:], "big") if self.granted and self.serial_der else None

    @property
    def granted(self) -> bool:
        """Whether a token was issued, or a countersignature."""
        return bool(self.ended and self.failure is None)

    @property
    def sign_ns(self) -> int | None:
        """How long the signer took, also when it failed; None when it was not called."""
        return (self.sign_ended or self.ended) - self.sign_began if self.sign_began else None

    @property
    def signature_failed(self) -> bool:
        """Whether the signer was called and gave no valid signature."""
        return bool(self.sign_began and not self.sign_ended)

    @property
    def waited_too_long(self) -> bool:
        """Whether the request was refused because no thread was free in time."""
        return bool(self.wait_began and not self.wait_ended and self.failure is not None)

    @property
    def audit_ns(self) -> int | None:
        """How long processors and audit sinks took, also when one failed; None when none was called."""
        return (self.audit_ended or self.ended) - self.audit_began if self.audit_began else None

    def refuse(self, failure: PKIFailureInfo, reason: str) -> None:
        """Record that the request is refused, and why."""
        self.failure = failure
        self.reason = reason
        self.ended = perf_counter_ns()

    def outcome(self) -> RequestOutcome:
        """Return the RequestOutcome for observers."""
        marks = (
            (0 if not self.parse_ended else self.started, self.parse_ended),
            (self.wait_began, self.wait_ended),
            (self.clock_began, self.clock_ended),
            (self.sign_began, self.sign_ended),
            (self.audit_began, self.audit_ended),
        )
        phases, offsets, failed = {}, {}, None
        for name, (began, ended) in zip(PHASES, marks, strict=True):
            if began:
                phases[name] = (ended or self.ended) - began
                offsets[name] = began - self.started
                if not ended:
                    failed = name
        context = self.context
        return RequestOutcome(
            request_id=context.request_id if context else "",
            client_address=context.client_address if context else "",
            profile=self.profile,
            failure=self.failure,
            hash_name=self.hash_name,
            serial_number=self.serial_number,
            duration_ns=self.ended - self.started,
            phases_ns=phases,
            offsets_ns=offsets,
            failed_phase=failed,
            algorithm=self.algorithm,
            reason=self.reason,
            identity=context.identity if context else None,
        )


AnsweredRequest: TypeAlias = tuple[RequestTrace, str, str, str | None]
"""The trace of a request, the code of its reply, its client's address and its id."""
