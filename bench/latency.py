"""Latency at 80 % of the most, on 64 connections, as servers are shipped: `python -m bench.latency [--quick]`.

An open loop asks (bench.open_loop), so pauses count for everybody who comes meanwhile: garbage collections and the
log's writes too, since metrics and access log are on. bench.rounds says what the most is, and what the last columns
tell of the machine. `server cores` is how much of a core the server used.
"""

from __future__ import annotations

import argparse
from functools import partial

from bench import open_loop, rounds
from bench.issue import SERVERS
from bench.measure import FLOOR, Server
from bench.report import Row, print_rows

ENGINES = ("waitress", "granian")
WATCHED = {"TSA_METRICS__ENABLED": "true", "TSA_METRICS__PORT": "0", "TSA_LOG__ACCESS": "true"}
_ROWS = {**{engine: SERVERS[engine] for engine in ENGINES}, "the floor": FLOOR}
"""What the floor has, a loop that knows no HTTP, is the machine's part in the latency of the others (decision 286)."""
_CONNECTIONS = 64
_PART = 0.8


def run(*, count: int = 40, seconds: float = 0.5) -> list[Row]:
    """Measure so many rounds, up to twice as many where they are disturbed; raises NoGenerator.

    Many short ones, because the speed of a shared machine changes within seconds.
    """
    open_loop.generator()
    running = {name: Server(*arguments, environment=WATCHED) for name, arguments in _ROWS.items()}
    try:
        cases = {
            name: partial(rounds.measure, server, part=_PART, seconds=seconds, connections=_CONNECTIONS)
            for name, server in running.items()
        }
        found = rounds.by_turns(cases, rounds=count, turns=2 * count, what=f"latency at {_PART:.0%} of the most")
    finally:
        for server in running.values():
            server.close()
    return [
        Row(
            part="latency",
            name=f"{name}, {_PART:.0%} of the most, {_CONNECTIONS} connections",
            figures=rounds.figures(each),
        )
        for name, each in found.items()
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round")
    print_rows(run(count=1) if parser.parse_args().quick else run())


if __name__ == "__main__":
    main()
