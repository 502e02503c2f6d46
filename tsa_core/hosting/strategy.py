"""The protocol of the ways of serving, and what all of them have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tsa_core.config import Settings
from tsa_core.hosting.answered import Answered
from tsa_core.hosting.ending import Ending
from tsa_core.hosting.facts import Facts
from tsa_core.hosting.pid_file import PidFile
from tsa_core.hosting.profiling import serve_profiling
from tsa_core.hosting.sockets import Listeners
from tsa_core.hosting.tls_files import check_tls_files
from tsa_core.http.app import create_app
from tsa_core.http.deferred_routes import DeferredRoutes
from tsa_core.http.observability import Observability
from tsa_core.http.wsgi_types import WsgiApplication
from tsa_core.service import Service
from tsa_core.values import Value

Started = Callable[[Facts], None]
"""Takes the facts of the service once all processes answer requests."""


class Strategy(Protocol):
    """One way of serving. Its constructor opens what it serves, and `close` closes that."""

    def run(self, started: Started) -> Answered:
        """Serve until SIGTERM or SIGINT, finish the requests in flight, and return whether all were answered.

        Calls `started` once, when requests are answered and SIGHUP is noted. Raises ConfigError, PluginError or
        SignerError when serving cannot begin.
        """

    def announced(self) -> None:
        """Begin to carry out reloads; called when the operator has been told that the server answers requests."""

    def close(self) -> None:
        """Close what was opened, as far as that ends in time; called after `run`, also when that failed."""


class ServeJob(Value):
    """What is to be served, whichever strategy serves it. `read_again` returns the settings for a reload.

    `ending` bounds the end of this process.
    """

    settings: Settings
    listeners: Listeners
    read_again: Callable[[], Settings]
    pid_file: PidFile | None
    observability: Observability
    ending: Ending

    def build_app(self, service: Service, *, deferred: DeferredRoutes | None = None) -> WsgiApplication:
        """Return the application over a service; raises ConfigError when the TLS files cannot be used.

        A reload calls this first, so it refuses such files before anything has changed. With `deferred`, routes are
        made later.
        """
        settings = service.settings
        check_tls_files(settings.server, by_granian=not settings.tells_guards_of_certificates)
        return create_app(service, self.observability.middleware(service), deferred=deferred)

    def serve_profiling(self) -> None:
        """Answer profiling requests in this process, when the settings ask for that."""
        if self.listeners.profiling is not None:
            serve_profiling(self.listeners.profiling)
