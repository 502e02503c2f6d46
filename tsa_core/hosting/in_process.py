"""Serves in one process: the only one, or one of several workers."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

from tsa_core.config import Settings
from tsa_core.hosting.answered import Answered
from tsa_core.hosting.balance import Acceptor, Balances
from tsa_core.hosting.ending import CLOSING_SHARE
from tsa_core.hosting.facts import Facts, describe
from tsa_core.hosting.garbage import freeze_startup_objects, set_imports_aside
from tsa_core.hosting.heartbeat import Heartbeat, Loop, ServiceHeartbeat
from tsa_core.hosting.notify import notify_stopping
from tsa_core.hosting.reloading import ReloadControl
from tsa_core.hosting.strategy import ServeJob, Started
from tsa_core.hosting.waitress.server import WaitressServer
from tsa_core.http.deferred_routes import DeferredRoutes
from tsa_core.http.wsgi_types import WsgiApplication
from tsa_core.service import LiveService, Service

if TYPE_CHECKING:
    from tsa_core.hosting.granian.listeners import GranianListeners

_LOOK_MILLISECONDS = 250
"""How long a signal may go unnoticed where nothing but its handler would end a wait."""
_FIRST_REQUESTS_SECONDS = 0.1
"""How long nothing is imported beside the requests that have waited for the start."""


class InProcess:
    """The strategy for `workers = 1`: this process answers the requests."""

    def __init__(self, job: ServeJob) -> None:
        self._job = job
        self._routes = DeferredRoutes()
        self._deferred: DeferredRoutes | None = self._routes
        self._live = LiveService(Service(job.settings), self._build_app)
        self._reloading: threading.Thread | None = None
        self._preparing = threading.Thread(target=self._prepare, name="routes", daemon=True)
        self._ended = threading.Event()

    def _build_app(self, service: Service) -> WsgiApplication:
        """Return the application; its routes come later at the start alone, since nobody waits for a reload."""
        deferred, self._deferred = self._deferred, None
        return self._job.build_app(service, deferred=deferred)

    def run(self, started: Started) -> Answered:
        """Serve until SIGTERM or SIGINT; returns whether every request was answered."""
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
            return serve_here(self._live, self._job, lambda: started(facts), ServiceHeartbeat())
        finally:
            control.stop()
            self._ended.set()
            for thread in (self._reloading, self._preparing):
                if thread.is_alive():
                    thread.join(min(1.0, self._job.ending.seconds_left() / 4))

    def announced(self) -> None:
        """Begin to carry out reloads, and to make the routes that nobody has asked for yet, in threads."""
        assert self._reloading is not None, "run() comes first"  # noqa: S101 - a mistake of ours
        self._reloading.start()
        self._preparing.start()

    def _prepare(self) -> None:
        if not self._ended.wait(_FIRST_REQUESTS_SECONDS) and not self._routes.made:
            self._routes.prepare()
            set_imports_aside()

    def _apply(self, new: Settings) -> Facts:
        service = self._live.prepare(new)
        self._live.commit()
        return describe(service)

    def close(self) -> None:
        """Close the service."""
        self._live.close(seconds=self._job.ending.seconds_left() * CLOSING_SHARE)


class Wait:
    """In waitress's place when granian serves all sockets: waits until it is told to stop."""

    def __init__(self) -> None:
        self.cut_off = 0
        self._read, self._write = os.pipe()

    def run(self) -> None:
        """Wait for `stop`, which a signal handler may call.

        A signal that another thread receives, or this one right before it waits, does not interrupt the wait, and its
        handler runs when that ends.
        """
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        while not poll.poll(_LOOK_MILLISECONDS):
            pass

    def reload_certificates(self) -> None:
        """Do nothing: there are none."""

    def stop(self) -> None:
        """Let `run` end; safe in a signal handler and from other threads."""
        os.write(self._write, b".")


def serve_here(
    live: LiveService,
    job: ServeJob,
    started: Callable[[], None],
    heartbeat: Heartbeat,
    *,
    slot: int = 0,
    balances: Balances | None = None,
) -> Answered:
    """Serve in this process until SIGTERM or SIGINT, and return whether every request was answered.

    `slot` counts the processes that serve the same sockets, and `balances` share the connections among them.

    granian, embedded, serves the sockets for TLS, and with `engine = "granian"` the plain ones too; else waitress
    serves those, and TLS where guards are to learn clients' certificates. `started` is called when all are answered.
    The loops beat by `heartbeat` from then on.
    """
    service, listeners, observability = live.service, job.listeners, job.observability
    observability.follow(lambda: live.service)
    settings = service.settings.server
    all_granian = settings.engine == "granian"
    # granian does not say whose certificate a client has shown (decision 228).
    identified = listeners.tls if service.settings.tells_guards_of_certificates else ()
    granian: GranianListeners | None = None
    if all_granian or (listeners.tls and not identified):
        from tsa_core.hosting.granian.listeners import GranianListeners

        granian = GranianListeners(
            live,
            settings,
            tls=() if identified else listeners.tls,
            plain=listeners.plain if all_granian else (),
            waiting_profiles=service.waiting_profiles,
            slot=slot,
            heartbeat=heartbeat,
            balances=balances,
        )
    server: Wait | WaitressServer = Wait()
    if identified or not all_granian:
        plain = () if all_granian else listeners.plain
        balance = balances(Acceptor.WAITRESS) if balances is not None else None
        server = WaitressServer(live, settings, sockets=plain, tls=identified, heartbeat=heartbeat, balance=balance)

    def stop(*_: object) -> None:
        notify_stopping()
        heartbeat.end()
        job.ending.begin()
        if granian is not None:
            granian.accept_no_more()
        server.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)

    def reload_certificates() -> None:
        if granian is not None:
            granian.reload_certificates()
        server.reload_certificates()

    live.on_commit = reload_certificates
    job.serve_profiling()
    try:
        with granian or nullcontext():
            if isinstance(server, WaitressServer):
                heartbeat.beat(Loop.WAITRESS)  # else one that hangs before its first turn would never be missed
            started()
            freeze_startup_objects()
            server.run()
        if server.cut_off or (granian is not None and granian.cut_off):
            return Answered.NOT_ALL
        job.ending.answered = Answered.NOT_KNOWN if granian is not None and granian.unseen else Answered.ALL
        return job.ending.answered
    finally:
        observability.flush()
