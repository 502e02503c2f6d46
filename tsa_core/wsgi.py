"""The application for any WSGI server: `gunicorn 'tsa_core.wsgi:create_app()'`, for example.

Settings come from the file that TSA_CONFIG names and from TSA_... variables; see docs/operate/wsgi-servers.md.
"""

from __future__ import annotations

from tsa_core.server_extra import require_server

require_server("tsa_core.wsgi")  # before the imports that would fail without a word of what to install

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

from tsa_core.api import Signer, TemporaryFailure, TsaError
from tsa_core.config import Settings, load_settings
from tsa_core.host import PluginHost
from tsa_core.http import create_app as create_http_app
from tsa_core.http.errors import error_body
from tsa_core.http.observability import Observability
from tsa_core.logs import end_log_thread, set_up_logging
from tsa_core.service import CertificateWatch, Service, open_shared_signers, selection, selection_text

log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0
_EXIT_CONFIG, _EXIT_TEMPORARY = 2, 75

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Application:
    """A WSGI application that each process opens for itself.

    A server may load it before it forks its workers. Connections and threads do not survive a fork. So a worker opens
    its own service at its first request. It does not close the inherited one, because that would end the parent's
    connections to backends. `shared` are the signers that forked processes can share; the parent opened them.
    """

    def __init__(self, settings: Settings, shared: Mapping[str, Signer]) -> None:
        self._settings = settings
        self._shared = shared
        self._opening = threading.Lock()
        self._inherited: list[Service] = []
        self._service: Service | None = None
        self._observability: Observability | None = None
        self._process = 0
        self._retry_at = 0.0
        self._app: WsgiApp = self._unavailable
        self.warnings: list[str] = []
        """Lines for the operator about what works but is unsafe in production."""
        self.open()
        if _uwsgi_forks_later():
            self.close()
            self._service, self._process = None, 0

    def open(self) -> None:
        """Open the service unless this process has; raises ConfigError, PluginError or SignerError."""
        with self._opening:
            if self._process == os.getpid():
                return
            if self._service is not None:
                self._inherited.append(self._service)
            observability = Observability(self._settings, forks=False, own_server=False)
            try:
                service = Service(self._settings, shared=self._shared)
            except BaseException:
                observability.close()
                raise
            self._service, self._observability = service, observability
            self._app = create_http_app(service, observability.middleware(service))
            self._process = os.getpid()
        self.warnings = list(service.warnings)
        log.info("plugins: %s", selection_text(selection(self._settings)))
        atexit.register(self.close)
        CertificateWatch().look(
            {"name": profile.name, "issues_until": profile.not_after.isoformat(), "ends_with": profile.period.ends_with}
            for profile in service.authority.profiles.values()
        )

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        if self._process != os.getpid() and not self._open_again():
            return self._unavailable(environ, start_response)
        return self._app(environ, start_response)

    def _open_again(self) -> bool:
        """Open the service in a forked process; a failure is logged, and tried again after a second."""
        if time.monotonic() < self._retry_at:
            return False
        try:
            self.open()
        except TsaError as error:
            self._retry_at = time.monotonic() + _RETRY_SECONDS
            log.error("the process %d cannot issue timestamps: %s", os.getpid(), error)  # noqa: TRY400 - no traceback
            return False
        return True

    @staticmethod
    def _unavailable(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status = HTTPStatus.SERVICE_UNAVAILABLE
        start_response(f"{status.value} {status.phrase}", [("Content-Type", "application/json"), ("Retry-After", "1")])
        return [error_body(status.value, "the server cannot issue timestamps now; its log has the reason")]

    def close(self) -> None:
        """Close what this process has opened, but nothing that it inherited."""
        if self._service is not None and self._process == os.getpid():
            if self._observability is not None:
                self._observability.flush()
            self._service.close()
            if self._observability is not None:
                self._observability.close()


def _uwsgi_forks_later() -> bool:
    """Say whether this is uWSGI's master, which forks its workers without telling Python.

    A lock that a thread holds during the fork is never released in the worker; so there must be no threads.
    """
    try:
        import uwsgi  # type: ignore[import-untyped] # the module exists in uWSGI's processes only
    except ImportError:
        return False
    return bool(uwsgi.worker_id() == 0)


def create_app() -> Application:
    """Return the WSGI application; a failure ends the process with one line.

    The exit code is 75 for what may pass, such as a backend that is down, and 2 for a mistake in the configuration.
    """
    try:
        settings = load_settings()
        if not logging.getLogger().handlers:
            set_up_logging(settings.log)
        host = PluginHost.for_settings(settings)
        atexit.register(host.close)
        app = Application(settings, open_shared_signers(host, settings))
    except TsaError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"tsa-core: error: {line}\n")
        raise SystemExit(_EXIT_TEMPORARY if isinstance(error, TemporaryFailure) else _EXIT_CONFIG) from None
    for warning in app.warnings:
        log.warning(warning)
    if _uwsgi_forks_later():
        end_log_thread()
    return app
