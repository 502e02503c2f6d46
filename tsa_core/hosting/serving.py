"""Serves a configuration: chooses the HTTP server and the number of processes, and exchanges it without a stop."""

from __future__ import annotations

import gc
import hashlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing.util import Finalize
from typing import Any

from tsa_core.api import Signer
from tsa_core.config import Settings
from tsa_core.hosting.granian.listeners import GranianListeners, require_granian
from tsa_core.hosting.granian.server import serve_granian
from tsa_core.hosting.notify import notify_stopping
from tsa_core.hosting.pid_file import PidFile
from tsa_core.hosting.profiling import serve_profiling
from tsa_core.hosting.reloading import ReloadControl
from tsa_core.hosting.sockets import Listeners, open_listeners, urls
from tsa_core.hosting.tls_files import check_tls_files, tls_files
from tsa_core.hosting.waitress.server import WaitressServer
from tsa_core.hosting.workers.plan import WorkerPlans
from tsa_core.hosting.workers.pool import WorkerPool
from tsa_core.http.app import create_app
from tsa_core.http.observing import Observatory
from tsa_core.http.wsgi_types import WsgiApplication
from tsa_core.service import LiveService, Service

log = logging.getLogger(__name__)

_BEHIND_A_PROXY = (
    "--server granian serves plain HTTP only behind a proxy that reads whole requests first, as nginx does: a client "
    "whose body does not arrive holds a thread for as long as it likes. For clients themselves use waitress, or "
    "--scheme https"
)

_HTTP2_BEHIND_A_PROXY = (
    "nothing limits how many HTTP/2 requests a client of that address asks for and cancels, and each is worked on: let "
    "nobody but the proxy reach it, or leave http2 to --scheme https"
)

Announce = Callable[[Mapping[str, Any]], None]
ReadAgain = Callable[[], Settings]


@dataclass(frozen=True, kw_only=True)
class _Order:
    """What shall be served, whatever serves it."""

    settings: Settings
    listeners: Listeners
    announce: Announce
    read_again: ReadAgain
    pid_file: PidFile | None
    observatory: Observatory


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
        # First, because processes that share metrics must know so from the beginning.
        observatory = stack.enter_context(Observatory(settings, forks=granian or settings.server.workers > 1))
        if granian:
            require_granian(reason="--server granian")
        if "https" in settings.server.schemes:
            require_granian(reason="--scheme https")
        check_tls_files(settings.server)
        listeners = open_listeners(settings.server)
        stack.callback(_close_in_parent, listeners, os.getpid())
        order = _Order(
            settings=settings,
            listeners=listeners,
            announce=partial(_announce_all, announce, observatory),
            read_again=again,
            pid_file=pid_file,
            observatory=observatory,
        )
        if granian and listeners.plain:
            _serve_with_granian(order)
        elif settings.server.workers == 1:
            _serve_in_this_process(order)
        else:
            _serve_with_workers(order)


def _announce_all(announce: Announce, observatory: Observatory, facts: Mapping[str, Any]) -> None:
    announce({**observatory.facts, **facts})
    observatory.warn()


def _close_in_parent(listeners: Listeners, parent: int) -> None:
    """Close the listeners where they were opened; a worker's end must not remove a Unix socket."""
    if os.getpid() == parent:
        listeners.close()


def _build_app(observatory: Observatory, service: Service) -> WsgiApplication:
    """Return the application over a service; a reload begins with it, so it refuses TLS files that cannot be used."""
    check_tls_files(service.settings.server)
    return create_app(service, observatory.middleware(service))


def _serve_in_this_process(order: _Order) -> None:
    live = LiveService(Service(order.settings), partial(_build_app, order.observatory))

    def apply(new: Settings) -> Mapping[str, Any]:
        service = live.prepare(new)
        live.commit()
        return describe(service)

    try:
        facts = describe(live.service)
        control = ReloadControl(
            order.settings, facts=facts, read_again=order.read_again, apply=apply, pid_file=order.pid_file
        )
        thread = threading.Thread(target=control.run, name="reload", daemon=True)
        signal.signal(signal.SIGHUP, control.request)

        def started() -> None:
            order.announce({**_addresses(order.listeners), **facts})
            thread.start()

        try:
            _run_waitress(live, order.listeners, order.observatory, started)
        finally:
            control.stop()
            if thread.is_alive():
                thread.join(5)
    finally:
        live.close()


def _run_waitress(
    live: LiveService, listeners: Listeners, observatory: Observatory, started: Callable[[], None], *, slot: int = 0
) -> None:
    service = live.service
    observatory.follow(lambda: live.service)
    settings = service.settings.server
    granian = GranianListeners(live, settings, tls=listeners.tls, waiting_profiles=service.waiting_profiles, slot=slot)
    server = WaitressServer(live, settings, sockets=listeners.plain)

    def stop(*_: object) -> None:
        notify_stopping()
        granian.accept_no_more()
        server.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    live.exchanged = granian.reload_certificates
    _serve_profiling(listeners)
    try:
        with granian:
            started()
            _settle()
            server.run()
    finally:
        observatory.leave()


def _serve_with_workers(order: _Order) -> None:
    with WorkerPlans(order.settings, describe) as plans:

        def work(report: Callable[[Mapping[str, object]], None], slot: int) -> None:
            live = plans.open_live(partial(_build_app, order.observatory))
            try:
                _run_waitress(
                    live, order.listeners, order.observatory, lambda: report(describe(live.service)), slot=slot
                )
            finally:
                live.close()

        def started(facts: Mapping[str, Any]) -> None:
            plans.begin(order.read_again, facts, order.pid_file)
            order.announce({**_addresses(order.listeners), **facts})

        pool = WorkerPool(work, count=order.settings.server.workers, idle=plans.idle, hung_up=plans.request)
        pool.run(started, graceful_seconds=order.settings.server.graceful_timeout.total_seconds())


def _serve_with_granian(order: _Order) -> None:
    with WorkerPlans(order.settings, describe) as plans:

        def open_app(slot: int) -> tuple[Callable[..., Any], Mapping[str, object]]:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            live = plans.open_live(partial(_build_app, order.observatory))
            order.observatory.follow(lambda: live.service)
            # Last of all: granian's workers are multiprocessing's, which end without what atexit knows.
            Finalize(None, live.close, exitpriority=1)
            Finalize(None, order.observatory.leave, exitpriority=2)
            others = GranianListeners(
                live,
                order.settings.server,
                tls=order.listeners.tls,
                plain=order.listeners.plain[1:],
                waiting_profiles=live.service.waiting_profiles,
                slot=slot,
            )
            others.start()
            live.exchanged = others.reload_certificates
            Finalize(others, others.stop, exitpriority=10)
            _serve_profiling(order.listeners)
            _settle()
            return live, describe(live.service)

        def started(facts: Mapping[str, Any]) -> None:
            plans.begin(order.read_again, facts, order.pid_file)
            plans.run_in_thread()
            order.announce({**_addresses(order.listeners), **facts})
            log.warning("%s", _BEHIND_A_PROXY)
            if order.settings.server.http2:
                log.warning("%s", _HTTP2_BEHIND_A_PROXY)

        serve_granian(
            order.settings.server,
            listening=order.listeners.plain[0],
            open_app=open_app,
            started=started,
            waiting_profiles=_waiting(order.settings, plans.shared),
            hung_up=plans.request,
        )


def _settle() -> None:
    """Have the garbage collector leave alone what lives as long as the process; else it stops requests for 30 ms."""
    gc.collect()
    gc.freeze()


def _serve_profiling(listeners: Listeners) -> None:
    if listeners.profiling is not None:
        serve_profiling(listeners.profiling)


def _addresses(listeners: Listeners) -> dict[str, object]:
    profiling = urls([listeners.profiling]) if listeners.profiling else []
    return {"addresses": listeners.urls, "profiling": [f"{url}/debug/pprof/" for url in profiling]}


def _waiting(settings: Settings, shared: Mapping[str, Signer]) -> int:
    """Count the profiles whose signers wait, or may: those that only workers can open are not known yet."""
    return sum(name not in shared or shared[name].latency == "remote" for name in settings.profiles)


def describe(service: Service) -> dict[str, Any]:
    """Return what operators are told when a service starts or is reloaded, fit for JSON."""
    return {
        "warnings": list(service.warnings),
        "files": sorted(map(str, {*service.files, *tls_files(service.settings.server)})),
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
