"""Requests per second with a backend that takes 50 ms for a signature, by number of server threads.

    python -m bench.remote_signer            # 5 s for each row
    python -m bench.remote_signer --quick    # 1 s for each row
    python -m bench.remote_signer --pause 10 # a faster backend

The server is a process of its own, waitress with `[server] threads`; as many clients ask as there are threads, each
over one kept connection, and one row more with twice as many. `of ideal` compares with threads / 50 ms, which a server
that cost nothing would reach. Every reply is looked at: one that is not granted ends the benchmark.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tsa_core.config import load_settings
from tsa_core.host import InstalledPlugin, PluginHost, installed_plugins
from tsa_core.hosting.sockets import listen, urls
from tsa_core.hosting.waitress.server import WaitressServer
from tsa_core.http import create_app
from tsa_core.service import Service
from tsa_core.testing import encode_request

PAUSE_MS = 50
ROWS = ((1, 1), (4, 4), (16, 16), (64, 64), (64, 128), (128, 128))
"""Threads of the server, and clients."""

_ROOT = Path(__file__).resolve().parent.parent
_GRANTED = b"\x30\x03\x02\x01\x00"
"""PKIStatusInfo with nothing but granted, where a reply begins."""


def serve(threads: int, pause_ms: int) -> None:
    """Serve with the slow signer until stdin ends; the port is the first line of stdout."""
    plugin = InstalledPlugin(name="slow", module="bench.slow_signer", distribution="bench", version="0")
    host = PluginHost({**installed_plugins(), "slow": [plugin]})
    settings = load_settings(
        overrides={
            "server": {"port": 0, "threads": threads},
            "profiles": {"default": {"signer": "slow:"}},
            "signer": {"slow": {"pause": f"{pause_ms}ms"}},
        },
        environ={},
    )
    with Service(settings, host=host) as service:
        sockets = listen(settings.server)
        server = WaitressServer(create_app(service), settings.server, sockets=sockets)

        def stop_when_asked() -> None:
            sys.stdin.read()
            server.stop()

        threading.Thread(target=stop_when_asked, daemon=True).start()
        print(urls(sockets)[0].rpartition(":")[2], flush=True)
        server.run()


def measure(threads: int, clients: int, seconds: float, *, pause_ms: int = PAUSE_MS) -> dict[str, float]:
    """Start a server, ask it for `seconds`, and return what came of it."""
    command = [sys.executable, "-m", "bench.remote_signer", "--serve", str(threads), "--pause", str(pause_ms)]
    with subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            before = _cpu_seconds(process.pid)
            latencies, wall = _load(port, clients, seconds)
            cpu_us = (_cpu_seconds(process.pid) - before) * 1_000_000
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
    ordered = sorted(latencies)
    return {
        "threads": threads,
        "clients": clients,
        "requests_per_second": len(ordered) / wall,
        "of_ideal": len(ordered) / wall / (threads / (pause_ms / 1000)),
        "p50_ms": statistics.median(ordered) * 1000,
        "p99_ms": ordered[int(len(ordered) * 0.99)] * 1000,
        "server_cpu_us": cpu_us / len(ordered),
    }


def _load(port: int, clients: int, seconds: float) -> tuple[list[float], float]:
    """Ask with so many clients at once for so long; returns each answer's seconds, and those of the whole."""
    request = encode_request(b"measured")
    latencies: list[list[float]] = [[] for _ in range(clients)]
    failures: list[str] = []
    start = threading.Barrier(clients + 1)

    def ask(mine: list[float]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.connect()
        start.wait(30)
        end = time.monotonic() + seconds
        while (began := time.monotonic()) < end and not failures:
            connection.request("POST", "/api/v1/timestamp", request, {"Content-Type": "application/timestamp-query"})
            reply = connection.getresponse()
            body = reply.read()
            if reply.status != 200 or body[4:9] != _GRANTED:
                failures.append(f"HTTP {reply.status}: {body[:80]!r}")
            mine.append(time.monotonic() - began)
        connection.close()

    workers = [threading.Thread(target=ask, args=(mine,)) for mine in latencies]
    for worker in workers:
        worker.start()
    start.wait(30)
    began = time.monotonic()
    for worker in workers:
        worker.join(seconds + 60)
    wall = time.monotonic() - began
    if failures:
        raise SystemExit(f"a request was not granted: {failures[0]}")
    return [latency for mine in latencies for latency in mine], wall


def _cpu_seconds(pid: int) -> float:
    """Return what the process has used, from the system's books; nan where there are none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.remote_signer", description="A slow backend.")
    parser.add_argument("--quick", action="store_true", help="a second for each row")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--serve", type=int, metavar="THREADS", help=argparse.SUPPRESS)
    parser.add_argument("--pause", type=int, default=PAUSE_MS, metavar="MS", help="of the backend  [50]")
    options = parser.parse_args(arguments)
    if options.serve:
        serve(options.serve, options.pause)
        return
    seconds = 1.0 if options.quick else 5.0
    rows = [measure(threads, clients, seconds, pause_ms=options.pause) for threads, clients in ROWS]
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
