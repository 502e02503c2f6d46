"""The replies: what becomes of a request is told to its client, the log, its trace and the observers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from time import perf_counter_ns

from tsa_core.api import ClockError, Observer, PKIFailureInfo, PluginCrash, RefusalRecord, RequestRejected, TsaError
from tsa_core.authority.admission import CANNOT_SIGN
from tsa_core.authority.limited_log import LimitedLog
from tsa_core.authority.pending_request import PendingRequest, Reply
from tsa_core.authority.request_trace import RequestTrace
from tsa_core.protocol.response import encode_rejection

log = logging.getLogger(__name__)

_new_tuple = tuple.__new__
"""Makes a named tuple in half the time of its constructor."""
_LAST_RESORT = Reply(
    encode_rejection(PKIFailureInfo.SYSTEM_FAILURE, CANNOT_SIGN),
    RequestRejected(PKIFailureInfo.SYSTEM_FAILURE, CANNOT_SIGN),
)
"""The reply to a request for which no other can be made, for want of memory for example."""


class Replies:
    """Grants and refuses requests; each of them once.

    `distribution` says where a plugin comes from, for the log. `refusals` are told of each refused request.
    """

    def __init__(
        self,
        observers: Sequence[Observer],
        distribution: Callable[[str], str],
        refusals: Sequence[Callable[[RefusalRecord], None]] = (),
    ) -> None:
        self._refusals = tuple(refusals)
        self._distribution = distribution
        self._observers = tuple(observers)
        self.observed = bool(observers)
        """Whether there are observers, so that requests need a trace."""
        self.failures = LimitedLog(log)

    def tell_unlogged(self, *, end: bool = False) -> None:
        """Log how many failures of requests were not logged."""
        self.failures.flush(end=end)

    def grant(self, pending: PendingRequest) -> None:
        """Answer with the token."""
        pending.reply = _new_tuple(Reply, (pending.response, None))
        if (trace := pending.trace) is not None:
            trace.ended = perf_counter_ns()
            if trace.audit_began:
                trace.audit_ended = trace.ended
            if self.observed:
                self._tell(trace)

    def refuse(self, pending: PendingRequest, rejection: RequestRejected) -> Reply:
        """Answer with a rejection, and return the reply."""
        pending.reply = reply = Reply(encode_rejection(rejection.failure, rejection.text), rejection)
        context = pending.context
        if log.isEnabledFor(logging.DEBUG):
            log.debug("request %s refused: %s: %s", context.request_id, rejection.failure.text, rejection.text)
        if (trace := pending.trace) is not None:
            trace.refuse(rejection.failure, rejection.text)
            if self.observed:
                trace.context = context
                self._tell(trace)
        for put in self._refusals:
            try:
                put(_refusal(pending, rejection))
            except BaseException:
                log.exception("request %s: its refusal cannot be recorded", context.request_id)
        return reply

    def fail(self, pending: PendingRequest, error: BaseException) -> None:
        """Refuse with the part of a failure that the requester may see, and log the rest; never raises."""
        try:
            self._fail(pending, error)
        except BaseException as untold:  # noqa: BLE001 - a plugin's error may have no text, or memory may be exhausted
            self._fail_untold(pending, error, untold)

    def _fail(self, pending: PendingRequest, error: BaseException) -> None:
        request_id, kind = pending.context.request_id, type(error).__name__
        if isinstance(error, RequestRejected):
            rejection = error
        elif isinstance(error, ClockError):
            self.failures.error(kind, request_id, f"no trusted time: {error}")
            rejection = RequestRejected(PKIFailureInfo.TIME_NOT_AVAILABLE, str(error))
        else:
            whence = self._whence(error.plugin) if isinstance(error, TsaError) else ""
            if isinstance(error, PluginCrash):
                self.failures.error(f"crash of {error.plugin}", request_id, f"{error}{whence}", cause=error.__cause__)
            elif isinstance(error, TsaError):
                self.failures.error(f"{kind} {error.plugin}", request_id, f"{kind}: {error}{whence}")
            else:
                self.failures.error(kind, request_id, "unexpected failure", cause=error)
            rejection = RequestRejected(PKIFailureInfo.SYSTEM_FAILURE, CANNOT_SIGN)
        self.refuse(pending, rejection)

    def _fail_untold(self, pending: PendingRequest, error: BaseException, untold: BaseException) -> None:
        """Refuse a request whose failure raised another error when it was to be told; never raises."""
        kind, plugin = type(error).__name__, error.plugin if isinstance(error, TsaError) else None
        with suppress(BaseException):
            text = f"{kind}, of which nothing more can be said{'' if plugin is None else f' [plugin {plugin}]'}"
            self.failures.error(f"untold {kind}", pending.context.request_id, text, cause=untold)
        with suppress(BaseException):
            if pending.reply is None:
                self.refuse(pending, RequestRejected(PKIFailureInfo.SYSTEM_FAILURE, CANNOT_SIGN))
        if pending.reply is None:
            pending.reply = _LAST_RESORT
        if (trace := pending.trace) is not None and not trace.ended:
            trace.refuse(PKIFailureInfo.SYSTEM_FAILURE, CANNOT_SIGN)

    def _whence(self, plugin: str | None) -> str:
        """Return what the log adds about the plugin that an error comes from."""
        if plugin is None:
            return ""
        distribution = self._distribution(plugin)
        return f" [plugin {plugin}{f', {distribution}' if distribution else ''}]"

    def _tell(self, trace: RequestTrace) -> None:
        try:
            outcome = trace.outcome()
        except BaseException:
            log.exception("observers cannot be told of a request")
            return
        finally:
            trace.context = None  # it waits to be counted and written, and need not keep the request in memory
        for observer in self._observers:
            try:
                observer.observe(outcome)
            except BaseException:
                log.exception("the observer %s crashed", type(observer).__name__)


def _refusal(pending: PendingRequest, rejection: RequestRejected) -> RefusalRecord:
    """Return the record of a refused request, with what was known of it."""
    context = pending.context
    profile, request = getattr(pending, "profile", None), getattr(pending, "request", None)
    return RefusalRecord(
        request_id=context.request_id,
        client_address=context.client_address,
        time=datetime.now(UTC),
        failure=rejection.failure,
        reason=rejection.text,
        profile=context.profile if profile is None else profile.name,
        hash_oid=None if request is None else request.hash_oid,
        digest=None if request is None else request.digest,
        identity=context.identity,
    )
