"""Metrics, access log and request tracing of a server, in its parent process and in each process that answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from time import perf_counter_ns, time
from typing import TYPE_CHECKING, Any, Self

from tsa_core.api import ConfigError
from tsa_core.authority import AnsweredRequest, RequestTrace
from tsa_core.config import Settings
from tsa_core.http.thread_pools import BEGINS_HERE, ENTER, QUEUED_SECONDS, wait_here
from tsa_core.http.timestamp import IDENTITY, TRACE
from tsa_core.logs import AccessLog, AnsweredTogether, access_log, dropped_lines
from tsa_core.service import Service

if TYPE_CHECKING:
    import falcon

    from tsa_core.metrics.listener import MetricsListener
    from tsa_core.metrics.recorder import Recorder

log = logging.getLogger(__name__)

_INFINITE = float("inf")


class RequestTracingMiddleware:
    """Falcon middleware that traces every request for metrics and access log; not used when both are off.

    bench.observability measures its cost, and docs/operate/metrics.md states it. This class counts nothing and formats
    nothing: metrics and access log do that later, for many requests at once.
    """

    def __init__(
        self,
        recorder: Recorder | None,
        access: AccessLog | None,
        *,
        request_id_header: str,
        identities: bool = True,
    ) -> None:
        self._recorder = recorder
        self._access = access
        self._identities = identities
        self._id_header = request_id_header

    def begin(self, environ: dict[str, Any]) -> None:
        """Begin the trace of a request. The resource that answers it fills it in."""
        environ[TRACE] = RequestTrace()
        # A request that moved to a thread pool begins twice; it has been counted as in flight the first time.
        if self._recorder is not None and (environ.get(ENTER) is not wait_here or BEGINS_HERE in environ):
            self._recorder.begin()

    def begin_usual(self) -> RequestTrace:
        """Begin the trace of a request that has no environ, and return it."""
        if self._recorder is not None:
            self._recorder.begin()
        return RequestTrace()

    def process_request(self, request: falcon.Request, _response: falcon.Response) -> None:
        """Begin the trace of a request that Falcon routes."""
        self.begin(request.env)

    def process_response(
        self, request: falcon.Request, response: falcon.Response, _resource: object, _succeeded: bool
    ) -> None:
        """End the trace of a request that Falcon has routed."""
        status = response.status
        self.end(
            request.env,
            route=request.uri_template,
            path=request.path,
            code=status[:3] if type(status) is str else str(response.status_code),
            request_id=response.get_header(self._id_header),
        )

    def end(self, environ: dict[str, Any], *, route: str | None, path: str, code: str, request_id: str | None) -> None:
        """End the trace; the reply is complete but has not been sent yet."""
        trace: RequestTrace = environ[TRACE]
        duration_ns = perf_counter_ns() - trace.started
        queued_seconds = environ.get(QUEUED_SECONDS, 0.0)
        if 0 < queued_seconds < _INFINITE:
            duration_ns += int(queued_seconds * 1e9)
        if self._identities:
            trace.identity = environ.get(IDENTITY)
        method = environ["REQUEST_METHOD"]
        if self._recorder is not None:
            self._recorder.end(route=route, method=method, code=code, duration_ns=duration_ns, trace=trace)
        if self._access is not None:
            answered = (trace, code, environ.get("REMOTE_ADDR") or "", request_id)
            self._access.write(AnsweredTogether(time(), method, path, trace.started + duration_ns, (answered,)))

    def end_usual(self, route: str, answered: Sequence[AnsweredRequest]) -> None:
        """End the traces of requests that `begin_usual` has begun and that were answered together.

        `route` is the path of all, too.
        """
        ended_ns = perf_counter_ns()
        if self._recorder is not None:
            self._recorder.end_together(route=route, method="POST", ended_ns=ended_ns, answered=answered)
        if self._access is not None:
            self._access.write(AnsweredTogether(time(), "POST", route, ended_ns, answered))

    def close(self) -> None:
        """Pass on the counts and write the log lines that wait; may be called more than once."""
        if self._recorder is not None:
            self._recorder.close()
        if self._access is not None:
            self._access.flush()


class Observability:
    """Opens the metrics listener and the access log that the settings ask for; a context manager.

    It is made in the process that may fork others. `forks` says whether other processes answer the requests. Raises
    ConfigError when the settings mention metrics and their address is not available. When they do not mention metrics,
    there is a warning instead.

    Under another WSGI server (`own_server` is False) there may be other processes with the same settings, unknown to
    this one. So there are metrics only when the settings enable them, and the first process that gets the address
    shows them. It shows those of all processes when the environment names prometheus_client's shared directory.
    """

    def __init__(self, settings: Settings, *, forks: bool, own_server: bool = True) -> None:
        self._settings = settings
        self._forks = forks
        self._own_server = own_server
        self._stack = ExitStack()
        self._listener: MetricsListener | None = None
        self._recorder: Recorder | None = None
        self._middleware: RequestTracingMiddleware | None = None
        self._counts = False
        self._shares = False
        self._without_metrics = ""
        if settings.metrics.enabled and (own_server or "enabled" in settings.metrics.model_fields_set):
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
        if self._shares:
            from tsa_core.metrics.shared_file import use_shared_files

            use_shared_files()
        from tsa_core.metrics.listener import MetricsListener

        try:
            self._listener = self._stack.enter_context(MetricsListener(settings))
        except ConfigError as error:
            if self._own_server and settings.model_fields_set:
                raise
            # The shared directory is kept: prometheus_client has noted it, and plugins count there, too.
            if self._own_server:
                self._without_metrics = str(error)
                return
            if not self._shares:
                log.warning("there are no metrics: %s", error)
                return
            log.info("metrics are counted here and shown by another process: %s", error)
        self._counts = True

    @property
    def facts(self) -> dict[str, Any]:
        """The address of the metrics, to be announced at the start."""
        return {"metrics": self._listener.url} if self._listener else {}

    def warn(self) -> None:
        """Log why there are no metrics.

        Called once the server answers requests: an error that prevents the start is then the only message.
        """
        if self._without_metrics:
            log.warning("there are no metrics: %s", self._without_metrics)

    def middleware(self, service: Service) -> RequestTracingMiddleware | None:
        """Return the middleware of this process, None when metrics and access log are off; `flush` closes it.

        Metrics are read from the first service, until `follow` says how to find the current one.
        """
        if self._middleware is None:
            self._middleware = self._open_middleware(service)
        return self._middleware

    def follow(self, current: Callable[[], Service]) -> None:
        """Read the metrics of clock, signers and certificates from the service that `current` returns."""
        if self._recorder is not None:
            self._recorder.follow(current)

    def flush(self) -> None:
        """In each process that answered requests: pass on the counts and write the log lines that wait."""
        if self._middleware is not None:
            self._middleware.close()

    def _open_middleware(self, service: Service) -> RequestTracingMiddleware | None:
        self._recorder = recorder = self._open_recorder(service) if self._counts else None
        guarded = bool(self._settings.middleware.guards)
        access = access_log(self._settings.log, identities=guarded)
        if recorder is None and access is None:
            return None
        id_header = self._settings.server.request_id_header
        return RequestTracingMiddleware(recorder, access, request_id_header=id_header, identities=guarded)

    def _open_recorder(self, service: Service) -> Recorder:
        from tsa_core.metrics.families import default_families
        from tsa_core.metrics.recorder import Recorder
        from tsa_core.metrics.sharing import directory
        from tsa_core.metrics.tenants import TenantNames

        limit = self._settings.metrics.tenants
        tenants = TenantNames(limit, directory) if limit else None
        recorder = Recorder(default_families(), service, dropped_lines=dropped_lines, tenants=tenants)
        if self._shares:
            recorder.start()
        if self._listener is not None:
            self._listener.start(recorder.bring_up_to_date)
        return recorder

    def close(self) -> None:
        """Stop showing metrics; may be called more than once."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
