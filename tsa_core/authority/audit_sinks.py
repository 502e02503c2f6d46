"""The audit sinks: all of them store the records of a batch, or none of its tokens leaves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter_ns
from typing import NamedTuple, NoReturn

from tsa_core.api import (
    AuditError,
    AuditEvent,
    AuditRecord,
    AuditSink,
    PluginCrash,
    PluginError,
    TsaError,
    one_line,
)
from tsa_core.api.wrong_types import describe
from tsa_core.authority.batch_guard import BatchGuard
from tsa_core.authority.causes import Cause, CauseKind, Causes
from tsa_core.authority.pending_request import PendingRequest
from tsa_core.authority.plugin_calls import PluginCalls

log = logging.getLogger(__name__)

SINK_FAILED = "the audit sink could not store a record; the log says why"
"""The cause after a failure, until a record is stored or the sink's `health` says that it can be."""


class _Sink(NamedTuple):
    name: str
    sink: AuditSink
    failed: Cause
    calls: PluginCalls


class AuditSinks:
    """Stores records in sinks, given with the names that the configuration has for them.

    `calls` makes the PluginCalls of a sink from what errors call it and the cause that it hangs.
    """

    def __init__(
        self, sinks: Sequence[tuple[str, AuditSink]], causes: Causes, calls: Callable[..., PluginCalls] = PluginCalls
    ) -> None:
        self._all = tuple(
            _Sink(
                name,
                sink,
                causes.add(CauseKind.AUDIT, name),
                calls(f"the audit sink {name!r}", hangs=causes.add(CauseKind.AUDIT, name), error=AuditError),
            )
            for name, sink in sinks
        )
        self._keeping_events = tuple(each for each in self._all if each.sink.keeps_events)
        self.failed = tuple(each.failed for each in self._all)
        """The cause of each sink: active when the last records could not be stored."""
        self.remote = any(sink.latency == "remote" for _, sink in sinks)

    def __bool__(self) -> bool:
        return bool(self._all)

    @property
    def lose_events(self) -> bool:
        """Whether there are sinks and none of them keeps events."""
        return bool(self._all) and not self._keeping_events

    @property
    def longest_event(self) -> float:
        """Seconds that `store_event` takes at most: the sinks that keep events store one after the other."""
        return sum(each.calls.seconds for each in self._keeping_events)

    def store(self, batch: Sequence[PendingRequest], guard: BatchGuard | None) -> None:
        """Store the audit records of a batch; raises TsaError, and nothing else, when a sink fails or hangs.

        With a guard the sinks are called in this thread, and the guard's owner notices when one hangs.
        """
        for pending in batch:
            if (trace := pending.trace) is not None and not trace.audit_began:
                trace.audit_began = perf_counter_ns()
        records = [_record(pending) for pending in batch]
        for name, sink, failed, calls in self._all:
            try:
                if guard is None:
                    returned: object = calls.call(partial(sink.write_all, records))
                else:
                    guard.begin(calls)
                    returned = sink.write_all(records)  # type: ignore[func-returns-value] # a wrong one may
                if returned is not None:
                    raise _wrong(name, "write_all", returned)
            except BaseException as error:  # noqa: BLE001 - it is raised again
                _fail(name, failed, error)
            if failed.reason:
                failed.clear()

    def store_event(self, event: AuditEvent) -> None:
        """Store an event that an answer waits for in each sink that keeps events; raises TsaError, and nothing else."""
        for name, sink, failed, calls in self._keeping_events:
            try:
                if (returned := calls.call(partial(sink.event, event))) is not None:
                    raise _wrong(name, "event", returned)
            except BaseException as error:  # noqa: BLE001 - it is raised again
                _fail(name, failed, error)
            if failed.reason:
                failed.clear()

    def tell(self, event: AuditEvent) -> None:
        """Store an event in each sink; a failure is logged."""
        for name, sink, _, calls in self._all:
            try:
                calls.call(partial(sink.event, event))
            except TsaError as error:
                log.error("the audit sink %r did not take the event %s: %s", name, event.kind, one_line(error))  # noqa: TRY400 - no traceback
            except BaseException:
                log.exception("the audit sink %r did not take the event %s", name, event)

    def close(self) -> None:
        """End the threads that call the sinks."""
        for _, _, _, calls in self._all:
            calls.close()


def _wrong(name: str, method: str, returned: object) -> PluginError:
    """Return what is raised for a result, a coroutine for example, which has stored nothing."""
    return PluginError(
        f"the audit sink {name!r} is wrong: {method} returned {describe(returned)}, not None", plugin=name
    )


def _fail(name: str, failed: Cause, error: BaseException) -> NoReturn:
    """Raise TsaError for what a sink has raised, and note that it failed."""
    failed.set(SINK_FAILED)
    if isinstance(error, TsaError):
        error.plugin = name
        raise error
    raise PluginCrash(f"the audit sink {name!r} crashed", plugin=name) from error


def _record(pending: PendingRequest) -> AuditRecord:
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
        identity=context.identity,
        clock_error_bound=pending.stamp.error_bound,
    )
