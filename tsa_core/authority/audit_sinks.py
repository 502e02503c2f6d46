"""The audit sinks: all of them store the records of a batch, or none of its tokens leaves."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter_ns

from tsa_core.api import AuditRecord, AuditSink, PluginCrash, PluginError, TsaError
from tsa_core.api.wrong_types import describe
from tsa_core.authority.causes import CauseKind, Causes
from tsa_core.authority.pending_request import PendingRequest

SINK_FAILED = "the audit sink could not store a record; the log says why"
"""The cause after a failure, until a record is stored or the sink's `health` says that it can be."""


class AuditSinks:
    """Stores records in sinks, given with the names that the configuration has for them."""

    def __init__(self, sinks: Sequence[tuple[str, AuditSink]], causes: Causes) -> None:
        self._all = tuple((name, sink, causes.add(CauseKind.AUDIT, name)) for name, sink in sinks)
        self.failed = tuple(failed for _, _, failed in self._all)
        """The cause of each sink: active when the last records could not be stored."""

    def __bool__(self) -> bool:
        return bool(self._all)

    def store(self, batch: Sequence[PendingRequest]) -> None:
        """Store the audit records of a batch; raises TsaError, and nothing else, when a sink fails."""
        for pending in batch:
            if (trace := pending.trace) is not None and not trace.audit_began:
                trace.audit_began = perf_counter_ns()
        records = [_record(pending) for pending in batch]
        for name, sink, failed in self._all:
            try:
                returned: object = sink.write_all(records)  # type: ignore[func-returns-value] # a wrong one may
                if returned is not None:
                    raise PluginError(
                        f"the audit sink {name!r} is wrong: write_all returned {describe(returned)}, not None",
                        plugin=name,
                    )
            except TsaError as error:
                failed.set(SINK_FAILED)
                error.plugin = name
                raise
            except Exception as error:
                failed.set(SINK_FAILED)
                raise PluginCrash(f"the audit sink {name!r} crashed", plugin=name) from error
            if failed.reason:
                failed.clear()


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
    )
