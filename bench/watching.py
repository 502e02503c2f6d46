"""What metrics and the access log add to a request: `python -m bench.watching [--quick]`.

Two servers of each engine, one that is watched and one that is not, take turns in short pairs (A B B A), and the rows
have the median of the differences within the pairs. The two rows of a table differ by what the machine did meanwhile,
which is more than what is asked for here. Half of the differences are between `from us` and `to us`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from statistics import median, quantiles

from bench.issue import SERVERS, WITH_CERTIFICATES
from bench.latency import ENGINES, WATCHED
from bench.measure import Server
from bench.report import Row, print_rows, progress
from bench.turns import KEY_OF_SERVERS

CASES: dict[str, tuple[int, Mapping[str, str]]] = {
    "16 kept connections": (16, {}),
    "64 kept connections": (64, {}),
    "16 at a time, a new connection for each request": (16, {"Connection": "close"}),
}


def run(*, pairs: int = 20, seconds: float = 1.0) -> list[Row]:
    """Return a row for each engine and case."""
    rows = []
    for engine in ENGINES:
        plain = Server(*SERVERS[engine], environment=KEY_OF_SERVERS)
        try:
            watched = Server(*SERVERS[engine], environment={**KEY_OF_SERVERS, **WATCHED})
            try:
                rows += [_row(engine, plain, watched, case, pairs, seconds) for case in CASES]
            finally:
                watched.close()
        finally:
            plain.close()
    return rows


def _row(engine: str, plain: Server, watched: Server, case: str, pairs: int, seconds: float) -> Row:
    connections, headers = CASES[case]
    costs: dict[Server, list[float]] = {plain: [], watched: []}
    progress(f"watching, {engine}, {case}, {pairs} pairs")
    for number in range(pairs):
        for server in (plain, watched) if number % 2 else (watched, plain):
            load = server.load(WITH_CERTIFICATES, connections=connections, seconds=seconds, headers=headers)
            costs[server].append(load.cpu_us)
    more = [with_it - without for with_it, without in zip(costs[watched], costs[plain], strict=True)]
    quarters = quantiles(more, n=4)
    figures = {
        "CPU us": median(costs[plain]),
        "watched CPU us": median(costs[watched]),
        "watching us": median(more),
        "from us": quarters[0],
        "to us": quarters[-1],
        "pairs": pairs,
    }
    return Row(part="watching", name=f"{engine}, {case}", figures=figures)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.watching", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="four short pairs")
    print_rows(run(pairs=4, seconds=0.3) if parser.parse_args().quick else run())


if __name__ == "__main__":
    main()
