"""Serves a configuration: chooses the HTTP server and the number of processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from multiprocessing.util import Finalize
from typing import Any

from tsa_core.api import Signer
from tsa_core.config import Settings
from tsa_core.host import PluginHost
from tsa_core.http.app import create_app
from tsa_core.http.granian_listeners import GranianListeners, require_granian
from tsa_core.http.granian_server import serve_granian
from tsa_core.http.profiling import serve_profiling
from tsa_core.http.sockets import Listeners, open_listeners, urls
from tsa_core.http.tls_files import check_tls_files
from tsa_core.http.waitress_server import WaitressServer
from tsa_core.http.workers import WorkerPool
from tsa_core.service import Service, open_shared_signers

Announce = Callable[[Mapping[str, Any]], None]


def serve(settings: Settings, announce: Announce) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is in flight and return.

    `announce` is called once, when requests are answered, with `addresses`, `warnings` and `profiles`. Raises
    ConfigError, PluginError or SignerError, with a line for the operator, when serving cannot begin.
    """
    if settings.server.engine == "granian":
        require_granian(reason="--server granian")
    if "https" in settings.server.schemes:
        require_granian(reason="the scheme https")
        check_tls_files(settings.server)
    listeners = open_listeners(settings.server)
    parent = os.getpid()
    try:
        if settings.server.engine == "granian" and listeners.plain:
            _serve_with_granian(settings, listeners, announce)
        elif settings.server.workers == 1:
            with Service(settings) as service:
                _run_waitress(service, listeners, lambda: announce({**_addresses(listeners), **describe(service)}))
        else:
            _serve_with_workers(settings, listeners, announce)
    finally:
        if os.getpid() == parent:
            listeners.close()


def _serve_with_workers(settings: Settings, listeners: Listeners, announce: Announce) -> None:
    host = PluginHost(base_directory=settings.base_directory)
    try:
        shared = open_shared_signers(host, settings)

        def work(report: Callable[[Mapping[str, object]], None]) -> None:
            with Service(settings, shared=shared) as service:
                _run_waitress(service, listeners, lambda: report(describe(service)))

        pool = WorkerPool(work, count=settings.server.workers)
        pool.run(
            lambda message: announce({**_addresses(listeners), **message}),
            graceful_seconds=settings.server.graceful_timeout.total_seconds(),
        )
    finally:
        host.close()


def _run_waitress(service: Service, listeners: Listeners, started: Callable[[], None]) -> None:
    app = create_app(service)
    granian = GranianListeners(app, service.settings.server, tls=listeners.tls, inline=service.local)
    server = WaitressServer(app, service.settings.server, sockets=listeners.plain, inline=service.local)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    _serve_profiling(listeners)
    with granian:
        started()
        server.run()


def _serve_with_granian(settings: Settings, listeners: Listeners, announce: Announce) -> None:
    host = PluginHost(base_directory=settings.base_directory)
    parent = os.getpid()
    try:
        shared = open_shared_signers(host, settings)

        def open_app() -> tuple[Callable[..., Any], Mapping[str, object]]:
            service = Service(settings, shared=shared)
            app = create_app(service)
            others = GranianListeners(
                app, settings.server, tls=listeners.tls, plain=listeners.plain[1:], inline=service.local
            )
            others.start()
            _serve_profiling(listeners)
            Finalize(others, others.stop, exitpriority=10)
            return app, describe(service)

        serve_granian(
            settings.server,
            listening=listeners.plain[0],
            open_app=open_app,
            started=lambda message: announce({**_addresses(listeners), **message}),
            local=_all_local(settings, shared),
        )
    finally:
        if os.getpid() == parent:
            host.close()


def _serve_profiling(listeners: Listeners) -> None:
    if listeners.profiling is not None:
        serve_profiling(listeners.profiling)


def _addresses(listeners: Listeners) -> dict[str, object]:
    profiling = urls([listeners.profiling]) if listeners.profiling else []
    return {"addresses": listeners.urls, "profiling": [f"{url}/debug/pprof/" for url in profiling]}


def _all_local(settings: Settings, shared: Mapping[str, Signer]) -> bool:
    """Say whether every signer is in memory, without opening those that only workers may open."""
    return set(shared) == set(settings.profiles) and all(signer.latency == "local" for signer in shared.values())


def describe(service: Service) -> dict[str, object]:
    """Return what operators are told when a service starts, fit for JSON."""
    return {
        "warnings": list(service.warnings),
        "profiles": [
            {
                "name": profile.name,
                "algorithm": profile.algorithm.name,
                "policy": profile.policies[0],
                "not_after": f"{profile.not_after:%Y-%m-%d}",
            }
            for profile in service.authority.profiles.values()
        ],
    }
