"""What becomes of one request, noted while it happens, for those who watch: observers, metrics and the access log."""

from __future__ import annotations

from time import perf_counter_ns

from tsa_core.api import PKIFailureInfo, RequestContext, RequestOutcome, TimeStampReq

PHASES = ("parse", "wait", "clock", "sign", "audit")
"""What is timed: reading the request, waiting for a thread, reading the clock, the signature, and processors with audit
sinks."""


class RequestTrace:
    """Marks of one request, in perf_counter_ns(); 0 for what did not begin.

    A phase that began and did not end is where the request failed. What did not happen stays in the class: to make one
    takes 0.1 us, and all marks of a granted request 0.5.
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

    def __init__(self) -> None:
        self.started = perf_counter_ns()

    @property
    def hash_name(self) -> str | None:
        """The imprint's hash, when the request was read and its hash is one that the core knows."""
        known = self.request.hash_algorithm if self.request else None
        return known.name if known else None

    @property
    def serial_number(self) -> int | None:
        """The serial number of the token that was issued."""
        return int.from_bytes(self.serial_der[2:], "big") if self.granted else None

    @property
    def granted(self) -> bool:
        """Whether a token was issued."""
        return bool(self.ended and self.failure is None)

    @property
    def sign_ns(self) -> int | None:
        """How long the signer took, also when it failed; None when it was not asked."""
        return (self.sign_ended or self.ended) - self.sign_began if self.sign_began else None

    @property
    def signature_failed(self) -> bool:
        """Whether the signer was asked and there is no good signature."""
        return bool(self.sign_began and not self.sign_ended)

    @property
    def waited_too_long(self) -> bool:
        """Whether it was refused because no thread was free for it in time."""
        return bool(self.wait_began and not self.wait_ended and self.failure is not None)

    @property
    def audit_ns(self) -> int | None:
        """How long processors and audit sinks took, also when one failed; None when it did not come to that."""
        return (self.audit_ended or self.ended) - self.audit_began if self.audit_began else None

    def refuse(self, context: RequestContext, failure: PKIFailureInfo, reason: str) -> None:
        """Note that the request ends here, and why."""
        self.context = context
        self.failure = failure
        self.reason = reason
        self.ended = perf_counter_ns()

    def outcome(self) -> RequestOutcome:
        """Return what observers are told."""
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
        )
