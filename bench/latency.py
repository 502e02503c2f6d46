"""Latency at 80 % of the most, on 64 connections, as servers are shipped: `python -m bench.latency [--quick]`.

An open loop asks (bench.open_loop), so pauses count for everybody who comes meanwhile: garbage collections and the
log's writes too, since metrics and access log are on. The most is measured right before each run. `generator late ms`
is what the generator itself added at the 99.9th percentile: where that is large, the machine had other things to do.
"""

from __future__ import annotations

import argparse
from statistics import median

from bench import open_loop
from bench.issue import SERVERS, WITH_CERTIFICATES
from bench.measure import FLOOR, Server
from bench.report import Row, print_rows, progress

ENGINES = ("waitress", "granian")
WATCHED = {"TSA_METRICS__ENABLED": "true", "TSA_METRICS__PORT": "0", "TSA_LOG__ACCESS": "true"}
_ROWS = {**{engine: SERVERS[engine] for engine in ENGINES}, "the floor": FLOOR}
"""What the floor has, a loop that knows no HTTP, is the machine's part in the latency of the others (decision 286)."""
_CONNECTIONS = 64
_PART = 0.8


def run(*, rounds: int = 5, seconds: float = 8.0) -> list[Row]:
    """Measure and return the table's rows."""
    running = {name: Server(*arguments, environment=WATCHED) for name, arguments in _ROWS.items()}
    found: dict[str, list[open_loop.Latencies]] = {name: [] for name in running}
    try:
        for number in range(rounds):
            progress(f"latency at {_PART:.0%} of the most, round {number + 1} of {rounds}")
            for engine, server in running.items():
                load = server.load(WITH_CERTIFICATES, connections=_CONNECTIONS, seconds=min(2.0, seconds))
                found[engine].append(
                    open_loop.measure(
                        server.port, rate=_PART * load.per_second, seconds=seconds, connections=_CONNECTIONS
                    )
                )
    finally:
        for server in running.values():
            server.close()
    return [
        Row(
            part="latency",
            name=f"{engine}, {_PART:.0%} of the most, {_CONNECTIONS} connections",
            figures={
                "requests/s": median(each.per_second for each in loops),
                "p50 ms": median(each.p50_ms for each in loops),
                "p99 ms": median(each.p99_ms for each in loops),
                "p99.9 ms": median(each.p999_ms for each in loops),
                "worst ms": max(each.max_ms for each in loops),
                "generator late ms": median(each.late_ms for each in loops),
                "errors": sum(each.errors for each in loops),
            },
        )
        for engine, loops in found.items()
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round of two seconds")
    print_rows(run(rounds=1, seconds=2.0) if parser.parse_args().quick else run())


if __name__ == "__main__":
    main()
