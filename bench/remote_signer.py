"""Requests per second with a backend that takes 50 ms for a signature, by number of server threads.

    python -m bench.remote_signer            # 5 s for each row
    python -m bench.remote_signer --quick    # 1 s for each row
    python -m bench.remote_signer --pause 10 # a faster backend
    python -m bench.remote_signer --one-cpu  # the server kept on one CPU

The server is a process of its own, waitress with `[server] threads`; wrk asks over as many kept connections as there
are threads, and in one row more over twice as many. `of ideal` compares with threads / 50 ms, which a server
that cost nothing would reach. When some replies are not granted, that ends the benchmark.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from bench.issue import WITH_CERTIFICATES
from bench.measure import RunningServer, free_port
from tsa_core.config import load_settings
from tsa_core.host import InstalledPlugin, PluginHost, installed_plugins
from tsa_core.hosting.sockets import listen
from tsa_core.hosting.waitress.server import WaitressServer
from tsa_core.http import create_app
from tsa_core.service import Service

PAUSE_MS = 50
ROWS = ((1, 1), (4, 4), (16, 16), (64, 64), (64, 128), (128, 128))
"""Threads of the server, and clients."""


def serve(port: int, threads: int, pause_ms: int, *, one_cpu: bool = False) -> None:
    """Serve with the slow signer until SIGTERM, on one CPU of those that there are when so asked."""
    if one_cpu:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    plugin = InstalledPlugin(name="slow", module="bench.slow_signer", distribution="bench", version="0")
    host = PluginHost({**installed_plugins(), "slow": [plugin]})
    settings = load_settings(
        overrides={
            "server": {"port": port, "threads": threads},
            "profiles": {"default": {"signer": "slow:"}},
            "signer": {"slow": {"pause": f"{pause_ms}ms"}},
        },
        environ={},
    )
    with Service(settings, host=host) as service:
        server = WaitressServer(create_app(service), settings.server, sockets=listen(settings.server))
        signal.signal(signal.SIGTERM, lambda *_: server.stop())
        server.run()


class _Server(RunningServer):
    def __init__(self, threads: int, pause_ms: int, *, one_cpu: bool = False) -> None:
        port = free_port()
        flags = ["--serve", str(threads), "--port", str(port), "--pause", str(pause_ms)]
        flags += ["--one-cpu"] if one_cpu else []
        super().__init__([sys.executable, "-m", "bench.remote_signer", *flags], port=port)


def measure(
    threads: int, clients: int, seconds: float, *, pause_ms: int = PAUSE_MS, one_cpu: bool = False
) -> dict[str, float]:
    """Start a server, ask it for `seconds`, and return what came of it."""
    server = _Server(threads, pause_ms, one_cpu=one_cpu)
    try:
        load = server.load(WITH_CERTIFICATES, connections=clients, seconds=seconds)
    finally:
        server.close()
    if load.errors:
        raise RuntimeError(f"{load.errors} requests failed")
    return {
        "threads": threads,
        "clients": clients,
        "requests_per_second": load.per_second,
        "of_ideal": load.per_second / (threads / (pause_ms / 1000)),
        "p50_ms": load.p50_ms,
        "p99_ms": load.p99_ms,
        "server_cpu_us": load.cpu_us,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.remote_signer", description="A slow backend.")
    parser.add_argument("--quick", action="store_true", help="a second for each row")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--serve", type=int, metavar="THREADS", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--one-cpu", action="store_true", help="keep the server on one CPU, as taskset does")
    parser.add_argument("--pause", type=int, default=PAUSE_MS, metavar="MS", help="of the backend  [50]")
    options = parser.parse_args(arguments)
    if options.serve:
        serve(options.port, options.serve, options.pause, one_cpu=options.one_cpu)
        return
    seconds = 1.0 if options.quick else 5.0
    how: dict[str, Any] = {"pause_ms": options.pause, "one_cpu": options.one_cpu}
    rows = [measure(threads, clients, seconds, **how) for threads, clients in ROWS]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    print(
        f"backend {options.pause} ms, P-256, waitress, Python {sys.version.split()[0]}, "
        f"{os.cpu_count()} cores with the load"
    )
    print(f"{'threads':>8} {'clients':>8} {'requests/s':>11} {'of ideal':>9} {'p50 ms':>8} {'p99 ms':>8} {'CPU us':>8}")
    for row in rows:
        print(
            f"{row['threads']:8.0f} {row['clients']:8.0f} {row['requests_per_second']:11.0f} {row['of_ideal']:9.0%} "
            f"{row['p50_ms']:8.1f} {row['p99_ms']:8.1f} {row['server_cpu_us']:8.0f}"
        )


if __name__ == "__main__":
    main()
