"""The timestamp authority: from a request's bytes to a reply's bytes."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import perf_counter_ns
from types import MappingProxyType

from tsa_core.api import (
    AuditError,
    AuditRecord,
    AuditSink,
    ClockError,
    Observer,
    PKIFailureInfo,
    PolicySelector,
    RequestContext,
    RequestRejected,
    ResponseProcessor,
    SignerError,
    TimeStampReq,
    TokenDraft,
    TsaError,
)
from tsa_core.authority.admission import CANNOT_SIGN, Admission
from tsa_core.authority.gate import ClockGate
from tsa_core.authority.pending import Pending, Reply, Stamp
from tsa_core.authority.profile import Profile
from tsa_core.authority.trace import RequestTrace
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.request import read_extensions, read_request
from tsa_core.protocol.response import encode_rejection, signed_parts
from tsa_core.protocol.tstinfo import SERIAL_OCTETS, encode_serials

log = logging.getLogger(__name__)

_new_tuple = tuple.__new__
"""Makes a named tuple in half the time of its constructor."""


class TimestampAuthority:
    """Issues timestamps for one or more profiles. Thread-safe.

    Everything that a request needs was made at start; the objects of plugins are called directly. `profiles` must
    hold `default`.
    """

    def __init__(
        self,
        *,
        profiles: Sequence[Profile],
        gate: ClockGate,
        selectors: Sequence[PolicySelector] = (),
        processors: Sequence[ResponseProcessor] = (),
        audit_sinks: Sequence[AuditSink] = (),
        observers: Sequence[Observer] = (),
    ) -> None:
        self.profiles: Mapping[str, Profile] = MappingProxyType({profile.name: profile for profile in profiles})
        self.gate = gate
        self._processors = tuple(processors)
        self._claimed = frozenset().union(*(processor.request_extensions for processor in processors))
        self._admission = Admission(self.profiles, selectors, self._claimed)
        self._audit_sinks = tuple(audit_sinks)
        self._observers = tuple(observers)
        self._stages = (self._prepare, self._sign, self._complete, *([self._process] if processors else []))

    def respond(self, body: bytes, context: RequestContext, trace: RequestTrace | None = None) -> Reply:
        """Answer a DER request; never raises. Whatever is wrong becomes a rejection (RFC 3161 2.4.2).

        `trace` is filled in for the caller; observers are told in any case.
        """
        pending = self.begin(body, context, trace)
        self.finish((pending,))
        return pending.answered

    def issue(self, request: TimeStampReq, context: RequestContext, trace: RequestTrace | None = None) -> bytes:
        """Return the DER of a granted TimeStampResp; raises RequestRejected, and nothing else, otherwise."""
        pending = self._new(context, trace)
        pending.request = request
        self._attempt(self._admit, (pending,))
        self.finish((pending,))
        reply = pending.answered
        if reply.rejection is not None:
            raise reply.rejection
        return reply.der

    def refuse(
        self, rejection: RequestRejected, context: RequestContext, trace: RequestTrace | None, *, waited: bool = False
    ) -> Reply:
        """Refuse a request before it is read; `waited`: it had waited too long."""
        pending = self._new(context, trace)
        if pending.trace is not None and waited:
            pending.trace.wait_began = pending.trace.started
        return self._refuse(pending, rejection)

    def begin(self, body: bytes, context: RequestContext, trace: RequestTrace | None = None) -> Pending:
        """Read a DER request and decide whether it may be granted; never raises. `finish` is the rest."""
        pending = self._new(context, trace)
        try:
            pending.request = read_request(body)
        except RequestRejected as rejection:
            self._refuse(pending, rejection)
            return pending
        if pending.trace is not None:
            pending.trace.parse_ended = perf_counter_ns()
        self._attempt(self._admit, (pending,))
        return pending

    def finish(self, pendings: Sequence[Pending]) -> float:
        """Answer requests that leave together: each has its reply when this returns. Never raises.

        Returns the seconds that grow with their number: all but those of the audit sinks.

        They pass each stage together, because a signature takes the processor's caches for itself: sixteen
        requests at once cost a fifth less than one by one. They share a reading of the clock, which is made when all of
        them are there. Audit sinks are asked once for all, and when one fails, no token of them leaves.
        """
        started = perf_counter_ns()
        going = [pending for pending in pendings if pending.reply is None]
        if not going:
            return 0.0
        stamps: dict[str, Stamp] = {}
        for pending, serial_der in zip(going, encode_serials(os.urandom(SERIAL_OCTETS * len(going))), strict=True):
            pending.stamps = stamps
            pending.serial_der = serial_der
        for stage in self._stages:
            self._attempt(stage, going)
            going = [pending for pending in going if pending.reply is None]
        seconds = (perf_counter_ns() - started) / 1e9
        if self._audit_sinks and going:
            try:
                self._audit(going)
            except TsaError as error:
                for pending in going:
                    self._fail(pending, error)
                return seconds
        for pending in going:
            self._grant(pending)
        return seconds

    def _new(self, context: RequestContext, trace: RequestTrace | None) -> Pending:
        return Pending(context, RequestTrace() if trace is None and self._observers else trace)

    def _attempt(self, step: Callable[[Pending], None], pendings: Iterable[Pending]) -> None:
        """Take requests through a step; one for which it raises anything, a crash in a plugin too, is refused."""
        for pending in pendings:
            try:
                step(pending)
            except TsaError as error:
                self._fail(pending, error)
            except Exception:
                log.exception("request %s: unexpected failure", pending.context.request_id)
                self._refuse(pending, RequestRejected(PKIFailureInfo.SYSTEM_FAILURE, CANNOT_SIGN))

    def _grant(self, pending: Pending) -> None:
        pending.reply = _new_tuple(Reply, (pending.response, None))
        if (trace := pending.trace) is not None:
            trace.ended = perf_counter_ns()
            if trace.audit_began:
                trace.audit_ended = trace.ended
            if self._observers:
                self._tell(trace)

    def _refuse(self, pending: Pending, rejection: RequestRejected) -> Reply:
        pending.reply = reply = Reply(encode_rejection(rejection.failure, rejection.text), rejection)
        context = pending.context
        if log.isEnabledFor(logging.DEBUG):
            log.debug("request %s refused: %s: %s", context.request_id, rejection.failure.text, rejection.text)
        if (trace := pending.trace) is not None:
            trace.refuse(context, rejection.failure, rejection.text)
            if self._observers:
                self._tell(trace)
        return reply

    def _fail(self, pending: Pending, error: TsaError) -> None:
        """Refuse with what the requester may see of a failure; the log has the rest."""
        request_id = pending.context.request_id
        if isinstance(error, RequestRejected):
            rejection = error
        elif isinstance(error, ClockError):
            log.error("request %s: no trusted time: %s", request_id, error)
            rejection = RequestRejected(PKIFailureInfo.TIME_NOT_AVAILABLE, str(error))
        else:
            log.error("request %s: %s: %s", request_id, type(error).__name__, error)
            rejection = RequestRejected(PKIFailureInfo.SYSTEM_FAILURE, CANNOT_SIGN)
        self._refuse(pending, rejection)

    # -- the stages of a request --------------------------------------------------------------------------------

    def _admit(self, pending: Pending) -> None:
        """Choose the profile and refuse what it does not accept; a signer that waits may end this run (HandOver)."""
        context, request, trace = pending.context, pending.request, pending.trace
        if trace is not None:
            trace.context = context
            trace.request = request
        pending.profile = profile = self._admission.profile(request, context)
        if trace is not None:
            trace.profile = profile.name
        self._admission.check(request, profile)
        if profile.waits:
            if trace is not None:
                trace.wait_began = perf_counter_ns()
            context.enter(profile.name)
            if trace is not None:
                trace.wait_ended = perf_counter_ns()

    def _prepare(self, pending: Pending) -> None:
        """Read the clock and encode what is signed."""
        profile, request, trace = pending.profile, pending.request, pending.trace
        pending.policy_der = policy_der = request.policy_der or profile.default_policy_der
        if trace is not None:
            trace.clock_began = perf_counter_ns()
        stamp = pending.stamps.get(profile.name) or self._new_stamp(profile, pending.stamps)
        pending.stamp = stamp
        if trace is not None:
            trace.clock_ended = perf_counter_ns()
        draft = None
        if self._processors:
            pending.draft = draft = TokenDraft(
                profile=profile.name,
                policy=profile.policies_by_der[policy_der],
                serial_number=int.from_bytes(pending.serial_der[2:], "big"),
                gen_time=stamp.time,
                request=request,
                context=pending.context,
            )
        template = profile.template
        pending.tst_info = tst_info = template.tst_info(
            policy_der=policy_der,
            imprint_der=request.imprint_der,
            serial_der=pending.serial_der,
            gen_time_der=stamp.gen_time_der,
            nonce_der=request.nonce_der,
            extensions=self._extensions(request, profile, draft) if draft or request.extensions else b"",
            accuracy=stamp.accuracy,
        )
        pending.signed_attributes = attributes = template.signed_attributes(tst_info, stamp.signing_time_der)
        # Hashed here and not by the signature: it costs half as much among its like.
        pending.to_sign = profile.to_sign(attributes)

    def _sign(self, pending: Pending) -> None:
        profile, trace = pending.profile, pending.trace
        if trace is not None:
            trace.algorithm = profile.algorithm.name
            trace.serial_der = pending.serial_der
            trace.sign_began = perf_counter_ns()
        try:
            signature = profile.sign(pending.to_sign)
        except SignerError:
            profile.available = False
            raise
        except Exception as error:
            profile.available = False
            log.exception(
                "request %s: the signer plugin %r of profile %r crashed",
                pending.context.request_id,
                profile.settings.scheme,
                profile.name,
            )
            raise SignerError(f"the signer plugin {profile.settings.scheme!r} crashed") from error
        if profile.settings.verify_signatures and not profile.algorithm.is_valid(
            profile.signer.public_key, signature, pending.signed_attributes
        ):
            profile.available = False
            raise SignerError(f"profile {profile.name}: the signature does not verify; the key may have changed")
        profile.available = True
        pending.signature = signature
        if trace is not None:
            trace.sign_ended = perf_counter_ns()

    def _complete(self, pending: Pending) -> None:
        """Put the reply together, and let the response processors have it."""
        pending.response = pending.profile.template.response(
            tst_info=pending.tst_info,
            signed_attributes=pending.signed_attributes,
            signature=pending.signature,
            certificates=pending.request.cert_req,
        )

    def _process(self, pending: Pending) -> None:
        """Let the response processors have the reply."""
        if pending.trace is not None:
            pending.trace.audit_began = perf_counter_ns()
        response, draft = pending.response, pending.draft
        before = signed_parts(response)
        for processor in self._processors:
            response = processor.process(response, draft)
        if signed_parts(response) != before:
            raise TsaError("a response processor changed bytes under the signature; the reply is withheld")
        pending.response = response

    def _audit(self, pendings: Sequence[Pending]) -> None:
        """Have the records of tokens stored, all at once; raises TsaError, and nothing else, when one is not."""
        for pending in pendings:
            if (trace := pending.trace) is not None and not trace.audit_began:
                trace.audit_began = perf_counter_ns()
        try:
            records = [_record(pending) for pending in pendings]
            for sink in self._audit_sinks:
                sink.write_all(records)
        except TsaError:
            raise
        except Exception as error:
            log.exception("an audit sink crashed, and %d tokens are withheld", len(pendings))
            raise AuditError("an audit sink crashed") from error

    @staticmethod
    def _new_stamp(profile: Profile, stamps: dict[str, Stamp]) -> Stamp:
        """Read the clock, and share the time unless each token of the profile must have a later one."""
        reading = profile.read_clock()
        time = reading.time
        if not profile.not_before <= time <= profile.not_after:
            reason = profile.outside_period(time)
            log.error("profile %s: no token for %s: %s", profile.name, time, reason)
            raise RequestRejected(PKIFailureInfo.SYSTEM_FAILURE, f"this authority may not issue now: {reason}")
        accuracy = None if reading.uncertainty is None else profile.accuracy_for(reading.uncertainty)
        stamp = _new_tuple(Stamp, (time, *profile.encode_times(time), accuracy))
        if not profile.settings.ordering:
            stamps[profile.name] = stamp
        return stamp

    def _extensions(self, request: TimeStampReq, profile: Profile, draft: TokenDraft | None) -> bytes:
        """Return the encoded extensions beyond the template's: the request's if copied, then the processors'."""
        copied = profile.settings.allow_custom_extensions and request.extensions
        parts = [e.der for e in request.extensions if e.oid not in self._claimed] if copied else []
        if draft is not None:
            for processor in self._processors:
                parts.extend(processor.extend(draft))
        extensions = b"".join(parts)
        if extensions:
            try:
                read_extensions(profile.template.extensions + extensions)
            except (EncodingError, RequestRejected) as error:
                raise TsaError(f"the extensions of the token are wrong: {error}") from None
        return extensions

    def _tell(self, trace: RequestTrace) -> None:
        outcome = trace.outcome()
        for observer in self._observers:
            try:
                observer.observe(outcome)
            except Exception:
                log.exception("the observer %s crashed", type(observer).__name__)


def _record(pending: Pending) -> AuditRecord:
    profile, request, context = pending.profile, pending.request, pending.context
    return AuditRecord(
        request_id=context.request_id,
        client_address=context.client_address,
        profile=profile.name,
        policy=profile.policies_by_der[pending.policy_der],
        serial_number=int.from_bytes(pending.serial_der[2:], "big"),
        gen_time=pending.stamp.time,
        hash_oid=request.hash_oid,
        digest=request.digest,
        response=pending.response,
    )
