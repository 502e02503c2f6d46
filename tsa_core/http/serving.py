"""Serves a configuration: chooses the HTTP server and the number of processes."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from multiprocessing.util import Finalize
from typing import Any

from tsa_core.api import Signer
from tsa_core.config import Settings
from tsa_core.host import PluginHost
from tsa_core.http.app import create_app
from tsa_core.http.granian_server import serve_granian
from tsa_core.http.observing import Observatory
from tsa_core.http.sockets import listen, urls
from tsa_core.http.waitress_server import WaitressServer
from tsa_core.http.workers import WorkerPool
from tsa_core.service import Service, open_shared_signers

Announce = Callable[[Mapping[str, Any]], None]


def serve(settings: Settings, announce: Announce) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is in flight and return.

    `announce` is called once, when requests are answered, with `addresses`, `warnings` and `profiles`. Raises
    ConfigError, PluginError or SignerError, with a line for the operator, when serving cannot begin.
    """
    granian = settings.server.engine == "granian"
    with Observatory(settings, forks=granian or settings.server.workers > 1) as observatory:
        serve_it = _serve_with_granian if granian else _serve_with_waitress
        serve_it(settings, lambda facts: announce({**observatory.facts, **facts}), observatory)


def _serve_with_waitress(settings: Settings, announce: Announce, observatory: Observatory) -> None:
    sockets = listen(settings.server)
    if settings.server.workers == 1:
        with Service(settings) as service:
            announce({"addresses": urls(sockets), **describe(service)})
            _run_waitress(service, sockets, observatory)
        return
    host = PluginHost(base_directory=settings.base_directory)
    try:
        shared = open_shared_signers(host, settings)

        def work(report: Callable[[Mapping[str, object]], None]) -> None:
            with Service(settings, shared=shared) as service:
                report(describe(service))
                _run_waitress(service, sockets, observatory)

        pool = WorkerPool(work, count=settings.server.workers)
        pool.run(
            lambda message: announce({"addresses": urls(sockets), **message}),
            graceful_seconds=settings.server.graceful_timeout.total_seconds(),
        )
    finally:
        host.close()


def _run_waitress(service: Service, sockets: Sequence[socket.socket], observatory: Observatory) -> None:
    with observatory.middleware(service) or nullcontext() as observing:
        app = create_app(service, observing)
        server = WaitressServer(app, service.settings.server, sockets=sockets, inline=service.local)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: server.stop())
        server.run()


def _serve_with_granian(settings: Settings, announce: Announce, observatory: Observatory) -> None:
    host = PluginHost(base_directory=settings.base_directory)
    parent = os.getpid()
    try:
        shared = open_shared_signers(host, settings)

        def open_app() -> tuple[Callable[..., Any], Mapping[str, object]]:
            service = Service(settings, shared=shared)
            observing = observatory.middleware(service)
            if observing is not None:
                # granian's workers are multiprocessing's, which leave without what atexit knows.
                Finalize(None, observing.close, exitpriority=10)
            return create_app(service, observing), describe(service)

        serve_granian(
            settings.server,
            open_app=open_app,
            started=lambda message: announce(
                {"addresses": [f"http://{settings.server.host}:{settings.server.port}"], **message}
            ),
            local=_all_local(settings, shared),
        )
    finally:
        if os.getpid() == parent:
            host.close()


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
