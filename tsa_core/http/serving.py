"""Serves a configuration: chooses the HTTP server and the number of processes, and exchanges it without a stop."""

from __future__ import annotations

import hashlib
import signal
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from multiprocessing.util import Finalize
from typing import Any

from tsa_core.api import Signer
from tsa_core.config import Settings
from tsa_core.http.app import create_app
from tsa_core.http.granian_server import serve_granian
from tsa_core.http.observing import Observatory
from tsa_core.http.pid_file import PidFile
from tsa_core.http.reloading import ReloadControl
from tsa_core.http.sockets import listen, urls
from tsa_core.http.waitress_server import WaitressServer
from tsa_core.http.worker_plan import WorkerPlans
from tsa_core.http.workers import WorkerPool
from tsa_core.service import LiveService, Service

Announce = Callable[[Mapping[str, Any]], None]
ReadAgain = Callable[[], Settings]


def serve(settings: Settings, announce: Announce, *, read_again: ReadAgain | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is in flight and return.

    `announce` is called once, when requests are answered, with `addresses`, `warnings` and `profiles`. `read_again`
    returns the settings as they are at a reload (SIGHUP); without it, a reload reads keys and chains alone. Raises
    ConfigError, PluginError or SignerError, with a line for the operator, when serving cannot begin.
    """
    again = read_again or (lambda: settings)
    with ExitStack() as stack:
        pid_file = None
        if path := settings.server.pid_file:
            pid_file = PidFile(path)
            stack.callback(pid_file.close)
        granian = settings.server.engine == "granian"
        alone = not granian and settings.server.workers == 1
        # First, because processes that share metrics must know so from the beginning.
        observatory = stack.enter_context(Observatory(settings, forks=not alone))
        way = _serve_with_granian if granian else _serve_in_this_process if alone else _serve_with_workers
        way(settings, lambda facts: announce({**observatory.facts, **facts}), again, pid_file, observatory)


def _serve_in_this_process(
    settings: Settings, announce: Announce, read_again: ReadAgain, pid_file: PidFile | None, observatory: Observatory
) -> None:
    sockets = listen(settings.server)
    live = LiveService(Service(settings), partial(_build, observatory))

    def apply(new: Settings) -> Mapping[str, Any]:
        service = live.prepare(new)
        live.commit()
        return describe(service)

    try:
        facts = describe(live.service)
        control = ReloadControl(settings, facts=facts, read_again=read_again, apply=apply, pid_file=pid_file)
        thread = threading.Thread(target=control.run, name="reload", daemon=True)
        signal.signal(signal.SIGHUP, control.request)
        announce({"addresses": urls(sockets), **facts})
        thread.start()
        try:
            _run_waitress(live, sockets, observatory)
        finally:
            control.stop()
            thread.join(5)
    finally:
        live.close()


def _build(observatory: Observatory, service: Service) -> Callable[..., Any]:
    return create_app(service, observatory.middleware(service))


def _run_waitress(live: LiveService, sockets: Sequence[socket.socket], observatory: Observatory) -> None:
    service = live.service
    observatory.follow(lambda: live.service)
    server = WaitressServer(live, service.settings.server, sockets=sockets)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    try:
        server.run()
    finally:
        observatory.leave()


def _serve_with_workers(
    settings: Settings, announce: Announce, read_again: ReadAgain, pid_file: PidFile | None, observatory: Observatory
) -> None:
    sockets = listen(settings.server)
    with WorkerPlans(settings, describe) as plans:

        def work(report: Callable[[Mapping[str, object]], None]) -> None:
            live = plans.open_live(partial(_build, observatory))
            try:
                report(describe(live.service))
                _run_waitress(live, sockets, observatory)
            finally:
                live.close()

        def started(facts: Mapping[str, Any]) -> None:
            plans.begin(read_again, facts, pid_file)
            announce({"addresses": urls(sockets), **facts})

        pool = WorkerPool(work, count=settings.server.workers, idle=plans.idle, hung_up=plans.request)
        pool.run(started, graceful_seconds=settings.server.graceful_timeout.total_seconds())


def _serve_with_granian(
    settings: Settings, announce: Announce, read_again: ReadAgain, pid_file: PidFile | None, observatory: Observatory
) -> None:
    with WorkerPlans(settings, describe) as plans:

        def open_app() -> tuple[Callable[..., Any], Mapping[str, object]]:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            live = plans.open_live(partial(_build, observatory))
            observatory.follow(lambda: live.service)
            # granian's workers are multiprocessing's, which end without what atexit knows; the higher one is first.
            Finalize(None, live.close, exitpriority=10)
            Finalize(None, observatory.leave, exitpriority=20)
            return live, describe(live.service)

        def started(facts: Mapping[str, Any]) -> None:
            plans.begin(read_again, facts, pid_file)
            plans.run_in_thread()
            announce({"addresses": [f"http://{settings.server.host}:{settings.server.port}"], **facts})

        serve_granian(
            settings.server,
            open_app=open_app,
            started=started,
            waiting_profiles=_waiting(settings, plans.shared),
            hung_up=plans.request,
        )


def _waiting(settings: Settings, shared: Mapping[str, Signer]) -> int:
    """Count the profiles whose signers wait, or may: those that only workers can open are not known yet."""
    return sum(name not in shared or shared[name].latency == "remote" for name in settings.profiles)


def describe(service: Service) -> dict[str, Any]:
    """Return what operators are told when a service starts or is reloaded, fit for JSON."""
    return {
        "warnings": list(service.warnings),
        "files": sorted(map(str, service.files)),
        "profiles": [
            {
                "name": profile.name,
                "algorithm": profile.algorithm.name,
                "policy": profile.policies[0],
                "not_after": f"{profile.not_after:%Y-%m-%d}",
                "issues_until": profile.not_after.isoformat(),
                "chain_id": hashlib.sha256(profile.certificate_chain_pem).hexdigest(),
            }
            for profile in service.authority.profiles.values()
        ],
    }
