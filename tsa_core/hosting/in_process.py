"""Serves with waitress in one process: the only one, or one of several workers."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

from tsa_core.config import Settings
from tsa_core.hosting.facts import Facts, describe
from tsa_core.hosting.granian.listeners import GranianListeners
from tsa_core.hosting.notify import notify_stopping
from tsa_core.hosting.reloading import ReloadControl
from tsa_core.hosting.strategy import ServeJob, Started, freeze_startup_objects
from tsa_core.hosting.waitress.server import WaitressServer
from tsa_core.service import LiveService, Service


class InProcess:
    """The strategy for `workers = 1` with waitress: this process answers the requests."""

    def __init__(self, job: ServeJob) -> None:
        self._job = job
        self._live = LiveService(Service(job.settings), job.build_app)
        self._reloading: threading.Thread | None = None

    def run(self, started: Started) -> None:
        """Serve until SIGTERM or SIGINT."""
        facts = describe(self._live.service)
        control = ReloadControl(
            self._job.settings,
            facts=facts,
            read_again=self._job.read_again,
            apply=self._apply,
            pid_file=self._job.pid_file,
        )
        self._reloading = threading.Thread(target=control.run, name="reload", daemon=True)
        signal.signal(signal.SIGHUP, control.request)
        try:
            run_waitress(self._live, self._job, lambda: started(facts))
        finally:
            control.stop()
            if self._reloading.is_alive():
                self._reloading.join(5)

    def announced(self) -> None:
        """Begin to carry out reloads, in a thread."""
        assert self._reloading is not None, "run() comes first"  # noqa: S101 - a mistake of ours
        self._reloading.start()

    def _apply(self, new: Settings) -> Facts:
        service = self._live.prepare(new)
        self._live.commit()
        return describe(service)

    def close(self) -> None:
        """Close the service."""
        self._live.close()


def run_waitress(live: LiveService, job: ServeJob, started: Callable[[], None], *, slot: int = 0) -> None:
    """Serve in this process until SIGTERM or SIGINT; `slot` counts the processes that serve the same sockets.

    waitress serves the plain sockets, and granian, embedded, those for TLS. `started` is called when both answer.
    """
    service, listeners, observability = live.service, job.listeners, job.observability
    observability.follow(lambda: live.service)
    settings = service.settings.server
    granian = GranianListeners(live, settings, tls=listeners.tls, waiting_profiles=service.waiting_profiles, slot=slot)
    server = WaitressServer(live, settings, sockets=listeners.plain)

    def stop(*_: object) -> None:
        notify_stopping()
        granian.accept_no_more()
        server.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    live.on_commit = granian.reload_certificates
    job.serve_profiling()
    try:
        with granian:
            started()
            freeze_startup_objects()
            server.run()
    finally:
        observability.flush()
