"""The timestamp authority: from a request's bytes to a reply's bytes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf
from time import perf_counter_ns
from types import MappingProxyType

from tsa_core.api import (
    AuditEvent,
    AuditSink,
    ConfigError,
    Countersigner,
    Observer,
    PolicySelector,
    RefusalRecord,
    RequestContext,
    RequestRejected,
    ResponseProcessor,
    TimeStampReq,
    TsaError,
)
from tsa_core.authority.admission import Admission
from tsa_core.authority.attempts import Attempts, Stage
from tsa_core.authority.audit_sinks import AuditSinks
from tsa_core.authority.batch_guard import BatchGuard, BatchTaken
from tsa_core.authority.causes import Cause, CauseKind, Causes
from tsa_core.authority.gate import ClockGate
from tsa_core.authority.pending_request import LeaveThread, PendingRequest, Reply, WorkOnBatch
from tsa_core.authority.plugin_calls import DEFAULT_SECONDS, DEFAULT_THREADS, PluginCalls
from tsa_core.authority.processors import Processors
from tsa_core.authority.profile import Profile
from tsa_core.authority.replies import Replies
from tsa_core.authority.request_trace import RequestTrace
from tsa_core.authority.second_thread import SecondThread, Signing
from tsa_core.authority.signing import accept, sign
from tsa_core.authority.signing_in_threads import SigningInThreads
from tsa_core.authority.stamps import new_stamp
from tsa_core.authority.token_extensions import new_draft, token_extensions
from tsa_core.protocol.request import read_request
from tsa_core.protocol.tstinfo import SERIAL_OCTETS, encode_serials


class TimestampAuthority:
    """Issues timestamps for one or more profiles. Thread-safe.

    What is the same for all requests is made at start. `profiles` must include `default`. `causes` tells what stops
    tokens now. Plugins whose `latency` is remote are called in at most `threads` threads each, and have `limits`
    seconds for a call, by kind: audit, response, policy. `may_wait` says that audit sinks or processors are called,
    which may wait for disks even when they are local. `distribution` says where a plugin comes from, for the log.
    `refusals` are called with each request that gets no token, and must not wait. `spare_cpu` says that a second thread
    may sign, too, where a profile's key is slow.
    """

    def __init__(
        self,
        *,
        profiles: Sequence[Profile],
        gate: ClockGate,
        selectors: Sequence[tuple[str, PolicySelector]] = (),
        processors: Sequence[tuple[str, ResponseProcessor]] = (),
        audit_sinks: Sequence[tuple[str, AuditSink]] = (),
        observers: Sequence[Observer] = (),
        causes: Causes | None = None,
        distribution: Callable[[str], str] = lambda _plugin: "",
        refusals: Sequence[Callable[[RefusalRecord], None]] = (),
        limits: Mapping[CauseKind, float] = MappingProxyType({}),
        threads: int = DEFAULT_THREADS,
        spare_cpu: bool = False,
    ) -> None:
        self.causes = causes or Causes()

        def calls_of(kind: CauseKind) -> Callable[..., PluginCalls]:
            return partial(PluginCalls, seconds=limits.get(kind, DEFAULT_SECONDS), threads=threads)

        for profile in profiles:
            self.causes.include(profile.signing)
            self.causes.include(profile.hangs)
        self.profiles: Mapping[str, Profile] = MappingProxyType({profile.name: profile for profile in profiles})
        self.gate = gate
        self._processors = Processors(processors, self.causes, calls_of(CauseKind.RESPONSE))
        self._claimed = self._processors.request_extensions
        self._admission = Admission(self.profiles, selectors, self._claimed, self.causes, calls_of(CauseKind.POLICY))
        self._audit_sinks = AuditSinks(audit_sinks, self.causes, calls_of(CauseKind.AUDIT))
        self.may_wait = bool(processors or audit_sinks)
        self._remote = self._processors.remote or self._audit_sinks.remote or gate.clock.latency == "remote"
        self._waits_to_sign_alone = not (self._remote or processors)
        self._here = PluginCalls(
            "a key or a clock in this process's memory",
            seconds=max(profile.sign_timeout for profile in profiles),
            hangs=self.causes.add(CauseKind.SIGNER, "I/O thread"),
        )
        """Stands for what is called in the thread that answers a batch."""
        self._alone_here: list[None] = []
        """Requests in no batch that threads work on which must not wait: when one is there, it hangs."""
        self._second = SecondThread() if spare_cpu and any(profile.parallel for profile in profiles) else None
        self.least_batch = 1 if self._second is None else 2
        """How many requests a batch has at least, if so many are there: as many as are signed at the same time."""
        self._replies = Replies(observers, distribution, refusals)
        self._attempt = Attempts(self._replies)
        self._new_stamp = partial(new_stamp, self._replies.failures)
        self.in_threads: SigningInThreads = SigningInThreads(
            partial(self._sign, stages=(self._prepare,)), self._attempt, self._replies, self._here
        )
        """For requests that wait for their signer alone."""
        self._observed = bool(observers)
        self._processes, self._stores = bool(processors), bool(audit_sinks)
        self._stages: tuple[Stage, ...] = (self._prepare, sign)
        # For a thread that may wait, and gives up in time what hangs.
        self._stages_within_limits: tuple[Stage, ...] = (self._prepare, partial(sign, limited=True))
        self._last_stages: tuple[Stage, ...] = (self._complete, *([self._process] if processors else []))

    def respond(self, body: bytes, context: RequestContext, trace: RequestTrace | None = None) -> Reply:
        """Answer a DER request; never raises. A failure of any kind becomes a rejection (RFC 3161 2.4.2).

        `trace` is filled in for the caller. Observers are told with or without it.
        """
        pending = self.admit(body, context, trace)
        self._respond_alone(pending)
        return pending.answered

    def issue(self, request: TimeStampReq, context: RequestContext, trace: RequestTrace | None = None) -> bytes:
        """Return the DER of a granted TimeStampResp; raises RequestRejected, and nothing else."""
        pending = self._new(context, trace)
        pending.request = request
        self._attempt(self._assign_profile, (pending,))
        self._respond_alone(pending)
        reply = pending.answered
        if reply.rejection is not None:
            raise reply.rejection
        return reply.der

    def refuse(
        self, rejection: RequestRejected, context: RequestContext, trace: RequestTrace | None, *, waited: bool = False
    ) -> Reply:
        """Refuse a request before it is read; `waited` says that it had waited too long for a thread."""
        pending = self._new(context, trace)
        if pending.trace is not None and waited:
            pending.trace.wait_began = pending.trace.started
        return self._replies.refuse(pending, rejection)

    def admit(
        self, body: bytes, context: RequestContext, trace: RequestTrace | None = None, *, may_wait: bool = False
    ) -> PendingRequest:
        """Read a DER request and check whether its profile accepts it; never raises.

        A refused request has its reply already. `respond_batch` answers the others. With `may_wait`, one that needs a
        thread for its signature, and for nothing else, says that it `waits`, and does not enter a thread for all.
        """
        if trace is None and self._observed:
            trace = RequestTrace()
        pending = PendingRequest(context, trace)
        pending.waits = may_wait and self._waits_to_sign_alone
        try:
            pending.request = read_request(body)
            if trace is not None and self._observed:
                trace.parse_ended = perf_counter_ns()
            self._assign_profile(pending)
        except LeaveThread:
            raise
        except BaseException as error:  # noqa: BLE001 - sys.exit() in a selector is no reason to end
            self._replies.fail(pending, error)
        return pending

    def respond_batch(
        self, batch: Sequence[PendingRequest], guard: BatchGuard | None = None, stages: Sequence[Stage] = ()
    ) -> float:
        """Answer a batch of admitted requests: each has its reply when this returns, whatever fails.

        Returns the seconds that grow with the size of the batch: all but those of the audit sinks. With a guard, no
        thread is asked for: whoever has the guard looks at it, takes the batch when something hangs, and calls
        `give_up`. Then this raises BatchTaken, as soon as what hangs returns, and nothing else.

        All requests pass a stage before the next stage begins, because a signature evicts other code and data from the
        CPU's caches: a batch of sixteen costs a fifth less than sixteen single requests. The requests share one reading
        of the clock, made after all of them have arrived. Each audit sink is called once for the batch. When one fails,
        no token of the batch is sent.
        """
        unanswered = [pending for pending in batch if pending.reply is None]
        if not unanswered:
            return 0.0
        started = perf_counter_ns()
        try:
            return self._answer(unanswered, guard, stages, started)
        except BatchTaken:
            raise
        except BaseException as error:  # noqa: BLE001 - no stage raises it: memory, random numbers, a bug of ours
            if guard is not None:
                guard.keep()
            self.fail(unanswered, error)
            return (perf_counter_ns() - started) / 1e9

    def give_up(self, batch: Sequence[PendingRequest], hanging: PluginCalls) -> None:
        """Refuse the requests of a batch that was taken from the thread that works on it, or that waits behind one."""
        self.fail(batch, hanging.overdue())

    def fail(self, batch: Sequence[PendingRequest], error: BaseException) -> None:
        """Refuse the requests that have no reply, because of an error that concerns all of them; never raises."""
        for pending in batch:
            if pending.reply is None:
                self._replies.fail(pending, error)

    def waits(self, profile: Profile) -> bool:
        """Say whether requests of a profile wait for a backend, so that they run in threads."""
        return profile.waits or self._remote

    def audit(self, event: AuditEvent) -> None:
        """Write an event into the audit trail; waits for the sinks, and logs failures."""
        self._audit_sinks.tell(event)

    @property
    def longest_countersignature(self) -> float:
        """Seconds that a countersignature with its event takes at most, for whatever profile."""
        return max(each.longest_signature for each in self.profiles.values()) + self._audit_sinks.longest_event

    def countersigner(self, profile: str, *, protocol: str, sha1: bool = False, within: float = inf) -> Countersigner:
        """Return what countersigns for a profile `within` some seconds; raises ConfigError, and what a trial raises."""
        from tsa_core.authority.countersigning import AuthorityParts, ProfileCountersigner

        if (found := self.profiles.get(profile)) is None:
            raise ConfigError(f"there is no profile {profile[:64]!r}; there are: {', '.join(self.profiles)}")
        limited = partial(sign, limited=True)
        parts = AuthorityParts(
            self.profiles, self._admission, self._audit_sinks, self._replies, self._new_stamp, limited
        )
        return ProfileCountersigner(found, protocol, parts, sha1=sha1, within=within)

    def close(self) -> None:
        """End the threads that call plugins; those whose calls hang are left to themselves."""
        self._audit_sinks.close()
        self._processors.close()
        self._admission.close()
        for profile in self.profiles.values():
            profile.close()
        if self._second is not None:
            self._second.close()

    @property
    def failed_sinks(self) -> Sequence[Cause]:
        """The cause of each audit sink, in their order."""
        return self._audit_sinks.failed

    @property
    def failed_processors(self) -> Sequence[Cause]:
        """The cause of each response processor, in their order."""
        return self._processors.failed

    def tell_unlogged(self, *, end: bool = False) -> None:
        """Log how many failures of requests were not logged; for a thread, once a second, and with `end` at the end."""
        self._replies.tell_unlogged(end=end)

    def _new(self, context: RequestContext, trace: RequestTrace | None) -> PendingRequest:
        return PendingRequest(context, RequestTrace() if trace is None and self._observed else trace)

    def _answer(
        self, unanswered: Sequence[PendingRequest], guard: BatchGuard | None, stages: Sequence[Stage], started: int
    ) -> float:
        """Do what `respond_batch` says, and raise what comes between the stages."""
        work = WorkOnBatch(guard, self._second.share() if self._second is not None and len(unanswered) > 1 else None)
        if guard is not None:
            guard.begin(self._here)
        signed = [pending for pending in unanswered if pending.signed]
        unsigned = unanswered if not signed else [pending for pending in unanswered if not pending.signed]
        try:
            if signed:
                for pending in signed:
                    pending.batch = work
                self._attempt(accept, [pending for pending in signed if not pending.accepted], guard)
            self._sign(unsigned, work, stages)
        finally:
            if work.shared is not None:
                work.shared.end()
        for stage in self._last_stages:
            self._attempt(stage, [pending for pending in unanswered if pending.reply is None], guard)
        unanswered = [pending for pending in unanswered if pending.reply is None]
        seconds = (perf_counter_ns() - started) / 1e9
        failure = None
        if self._stores and unanswered:
            try:
                self._audit_sinks.store(unanswered, guard)
            except TsaError as error:
                failure = error
        if guard is not None:
            guard.claim()
        for pending in unanswered:
            if failure is None:
                self._replies.grant(pending)
            else:
                self._replies.fail(pending, failure)
        return seconds

    def _sign(self, unsigned: Sequence[PendingRequest], work: WorkOnBatch, stages: Sequence[Stage] = ()) -> None:
        """Take requests through the stages up to their signatures."""
        serials = encode_serials(os.urandom(SERIAL_OCTETS * len(unsigned)))
        for pending, serial_der in zip(unsigned, serials, strict=True):
            pending.batch = work
            pending.serial_der = serial_der
        for stage in stages or self._stages:
            self._attempt(stage, [pending for pending in unsigned if pending.reply is None], work.guard)

    def _respond_alone(self, pending: PendingRequest) -> None:
        """Answer a request that is in no batch; in a thread that may wait when this one must not wait for it."""
        here = self._alone_here
        if pending.reply is None and (self.may_wait or here or self.waits(pending.profile)):
            if not self.waits(pending.profile):  # else it has entered already
                self._attempt(self._enter, (pending,))
            self.respond_batch((pending,), None, self._stages_within_limits)
            return
        here.append(None)
        try:
            self.respond_batch((pending,))
        finally:
            here.pop()

    # -- the stages of a request --------------------------------------------------------------------------------

    def _assign_profile(self, pending: PendingRequest) -> None:
        """Choose the profile and refuse what it does not accept.

        On the I/O thread, what waits for a backend ends this run (LeaveThread).
        """
        context, request, trace = pending.context, pending.request, pending.trace
        if trace is not None:
            trace.request = request
            if self._observed:
                trace.context = context
        pending.profile = profile = self._admission.profile(request, context)
        if trace is not None:
            trace.profile = profile.name
        self._admission.check(request, profile)
        pending.waits = waits = pending.waits and profile.waits
        if waits and trace is not None:
            trace.wait_began = perf_counter_ns()
        elif not waits and (profile.waits or self._remote):
            self._enter(pending)

    def _enter(self, pending: PendingRequest) -> None:
        """Go on in a thread that may wait. That is a phase where a backend is waited for, or when no thread is free."""
        trace, began = pending.trace, perf_counter_ns()
        try:
            pending.context.enter(pending.profile.name)
        finally:
            if trace is not None:
                trace.wait_began = began
        if trace is not None and self.waits(pending.profile):
            trace.wait_ended = perf_counter_ns()
        elif trace is not None:
            trace.wait_began = 0

    def _prepare(self, pending: PendingRequest) -> None:
        """Read the clock and encode what is signed."""
        profile, request = pending.profile, pending.request
        pending.policy_der = policy_der = request.policy_der or profile.default_policy_der
        timed = pending.trace if self._observed else None
        if timed is not None:
            timed.clock_began = perf_counter_ns()
        pending.stamp = stamp = pending.batch.stamps.get(profile.name) or self._new_stamp(pending)
        if timed is not None:
            timed.clock_ended = perf_counter_ns()
        if profile.hash_ends:
            profile.refuse_ended_hash(request, stamp.time)
        draft = new_draft(pending) if self._processes else None
        template = profile.template
        pending.tst_info = tst_info = template.tst_info(
            policy_der=policy_der,
            imprint_der=request.imprint_der,
            serial_der=pending.serial_der,
            gen_time_der=stamp.gen_time_der,
            nonce_der=request.nonce_der,
            extensions=(
                token_extensions(pending, draft, self._processors, self._claimed)
                if draft or request.extensions
                else b""
            ),
            accuracy=stamp.accuracy,
        )
        pending.signed_attributes = attributes = template.signed_attributes(tst_info, stamp.signing_time_der)
        # Hashed in this stage and not by the signer: a hash right after other hashes costs half as much.
        pending.to_sign = to_sign = profile.to_sign(attributes)
        if pending.batch.shared is not None and profile.parallel:
            pending.signing = signing = Signing(profile.sign, to_sign)
            pending.batch.shared.add(signing)

    def _complete(self, pending: PendingRequest) -> None:
        """Encode the reply."""
        pending.response = pending.profile.template.response(
            tst_info=pending.tst_info,
            signed_attributes=pending.signed_attributes,
            signature=pending.signature,
            certificates=pending.request.cert_req,
        )

    def _process(self, pending: PendingRequest) -> None:
        """Pass the reply through the response processors."""
        if pending.trace is not None:
            pending.trace.audit_began = perf_counter_ns()
        pending.response = self._processors.process(pending.response, pending.draft, pending.batch.guard)
