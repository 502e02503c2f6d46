"""Metrics and access log of a server: what the parent of its processes does, and what each process does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from time import perf_counter_ns, time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import falcon

from tsa_core.api import ConfigError
from tsa_core.authority import RequestTrace
from tsa_core.config import Settings
from tsa_core.http.signer_pools import ENTER, QUEUED_SECONDS, stay
from tsa_core.http.timestamp import TRACE
from tsa_core.logs import AccessLog, AnsweredRequest, access_log
from tsa_core.service import Service

if TYPE_CHECKING:
    from tsa_core.metrics.listener import MetricsListener
    from tsa_core.metrics.recorder import Recorder

log = logging.getLogger(__name__)

_FOR_EVER = float("inf")
_new_answered = tuple.__new__
"""Makes an AnsweredRequest in half the time of its constructor."""


class ObservingMiddleware:
    """Falcon middleware that tells metrics and access log of every request; there is none when both are off.

    What it costs is measured by bench.observability and stands in docs/operate/metrics.md. Nothing is counted or put
    together here: both wait until many requests can be done at once.
    """

    def __init__(self, recorder: Recorder | None, access: AccessLog | None, *, request_id_header: str) -> None:
        self._recorder = recorder
        self._access = access
        self._id_header = request_id_header

    def begin(self, environ: dict[str, Any]) -> None:
        """Begin the trace of a request, which whoever answers it fills in."""
        environ[TRACE] = RequestTrace()
        # A request that was handed over to a pool is in flight since then; it begins here once more.
        if self._recorder is not None and environ.get(ENTER) is not stay:
            self._recorder.begin()

    def process_request(self, request: falcon.Request, _response: falcon.Response) -> None:
        """Begin the trace that the resources fill in."""
        self.begin(request.env)

    def process_response(
        self, request: falcon.Request, response: falcon.Response, _resource: object, _succeeded: bool
    ) -> None:
        """Tell of a request that the framework has routed."""
        status = response.status
        self.end(
            request.env,
            route=request.uri_template,
            path=request.path,
            code=status[:3] if type(status) is str else str(response.status_code),
            request_id=response.get_header(self._id_header),
        )

    def end(self, environ: dict[str, Any], *, route: str | None, path: str, code: str, request_id: str | None) -> None:
        """Tell of the request; the reply has not been sent yet, but nothing changes it any more."""
        trace: RequestTrace = environ[TRACE]
        duration_ns = perf_counter_ns() - trace.started
        queued_seconds = environ.get(QUEUED_SECONDS, 0.0)
        if 0 < queued_seconds < _FOR_EVER:
            duration_ns += int(queued_seconds * 1e9)
        method = environ["REQUEST_METHOD"]
        if self._recorder is not None:
            self._recorder.end(route=route, method=method, code=code, duration_ns=duration_ns, trace=trace)
        if self._access is not None:
            client = environ.get("REMOTE_ADDR") or ""
            self._access.request(
                _new_answered(AnsweredRequest, (time(), method, path, code, client, request_id, duration_ns, trace))
            )
        # What waits to be counted and written must not keep the whole request in memory.
        trace.context = None

    def close(self) -> None:
        """Hand over what was counted and write what was logged; once more than needed does no harm."""
        if self._recorder is not None:
            self._recorder.close()
        if self._access is not None:
            self._access.flush()


class Observatory:
    """Opens what the settings ask for, in the process that may fork others; a context manager.

    `forks` says whether other processes answer the requests. Raises ConfigError when metrics were asked for and their
    address cannot be had; when nobody mentioned them, a warning has to do.

    Under somebody else's server (`ours` is False) there may be other processes with the same settings, which are not
    known here: metrics must have been asked for, and the first process that has the address shows them. It shows those
    of all when the environment names a directory to share them, as prometheus_client wants it.
    """

    def __init__(self, settings: Settings, *, forks: bool, ours: bool = True) -> None:
        self._settings = settings
        self._forks = forks
        self._ours = ours
        self._stack = ExitStack()
        self._listener: MetricsListener | None = None
        self._recorder: Recorder | None = None
        self._middleware: ObservingMiddleware | None = None
        self._counts = False
        self._shares = False
        self._without_metrics = ""
        if settings.metrics.enabled and (ours or "enabled" in settings.metrics.model_fields_set):
            try:
                self._open_metrics()
            except BaseException:
                self._stack.close()
                raise

    def _open_metrics(self) -> None:
        from tsa_core.metrics.sharing import directory, shared_metrics

        settings = self._settings.metrics
        if self._forks:
            self._stack.enter_context(shared_metrics())
        self._shares = directory() is not None
        from tsa_core.metrics.listener import MetricsListener

        try:
            self._listener = self._stack.enter_context(MetricsListener(settings))
        except ConfigError as error:
            if self._ours and settings.model_fields_set:
                raise
            # The directory that processes share stays: prometheus_client has seen it, and plugins count there, too.
            if self._ours:
                self._without_metrics = str(error)
                return
            if not self._shares:
                log.warning("there are no metrics: %s", error)
                return
            log.info("metrics are counted here and shown by another process: %s", error)
        self._counts = True

    @property
    def facts(self) -> dict[str, Any]:
        """What operators are told when the server starts."""
        return {"metrics": self._listener.url} if self._listener else {}

    def warn(self) -> None:
        """Say what could not be had, once the server serves: before, what keeps it from serving comes alone."""
        if self._without_metrics:
            log.warning("there are no metrics: %s", self._without_metrics)

    def middleware(self, service: Service) -> ObservingMiddleware | None:
        """Return the middleware of this process, None when nobody watches; `leave` closes it.

        The first service is the one that is watched, until `follow` says where to find the present one.
        """
        if self._middleware is None:
            self._middleware = self._open_middleware(service)
        return self._middleware

    def follow(self, present: Callable[[], Service]) -> None:
        """Look for clock, signers and certificates at what `present` returns, which reloads exchange."""
        if self._recorder is not None:
            self._recorder.follow(present)

    def leave(self) -> None:
        """In each process that answered requests: hand over what was counted and write what was logged."""
        if self._middleware is not None:
            self._middleware.close()

    def _open_middleware(self, service: Service) -> ObservingMiddleware | None:
        self._recorder = recorder = self._open_recorder(service) if self._counts else None
        access = access_log(self._settings.log)
        if recorder is None and access is None:
            return None
        return ObservingMiddleware(recorder, access, request_id_header=self._settings.server.request_id_header)

    def _open_recorder(self, service: Service) -> Recorder:
        from tsa_core.metrics.families import default_families
        from tsa_core.metrics.recorder import Recorder

        recorder = Recorder(default_families(), service)
        if self._shares:
            recorder.start()
        if self._listener is not None:
            self._listener.start(recorder.bring_up_to_date)
        return recorder

    def close(self) -> None:
        """Stop showing metrics; once more than needed does no harm."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
