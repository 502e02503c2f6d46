"""What workers bring: throughput, CPU for each request and each worker's part of the work, with 1, 2 and 4 workers.

    python -m bench.scaling [--quick]

All servers run at once and take turns under load. The load generator is on the same machine: `cores` is what the server
had of it, and `generator cores` what the generator took. `times one` compares throughput with that of one worker in the
same round. `least busy` is the CPU of the worker that did least, as a part of an even share: with 0 it did nothing,
which the CPU for each request does not show.

`2 servers of one worker` are the control: servers on ports of their own, to which the same clients go at the same time,
half to each. They share nothing, so what a request costs there beyond one worker is the machine's: its cores, its
caches, the generator. What two workers cost beyond that is ours. Each generator has two threads, as the control's two
have together.

`stopped` is what clients feel when one of two workers is stopped for 100 ms, once a second: latencies of an open loop
(bench.open_loop) at half of the most, beside the same load without stops.
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from statistics import median

from bench import open_loop, rounds
from bench.issue import WITH_CERTIFICATES
from bench.measure import Load, Server, load_together, process_tree, servers
from bench.report import Row, print_rows, progress

KIND = "ecdsa-p256"
ENGINES = ("waitress", "granian")
WORKERS = (1, 2, 4)
NEW = {"Connection": "close"}
_CONNECTIONS = 64
_SERVERS = 2
"""Servers of the control, and threads of each load generator: the control has one generator for each server."""
_CONTROL = f"{ENGINES[0]}, {_SERVERS} servers of one worker"
_STOP_SECONDS = 0.1
_STOP_EVERY_SECONDS = 1.0


def scaling(*, count: int, seconds: float) -> list[Row]:
    """Measure throughput and CPU by number of workers, on kept connections and on new ones, beside the control."""
    cases = [(engine, workers) for engine in ENGINES for workers in WORKERS]
    configurations = {
        _name(*case): (("--server", case[0], *(("--workers", str(case[1])) if case[1] > 1 else ())), KIND)
        for case in cases
    }
    alone = {str(each): (("--server", ENGINES[0]), KIND) for each in range(_SERVERS)}
    loads: dict[tuple[str, bool], list[Load]] = {}
    with servers(configurations) as running, servers(alone) as control:
        for number in range(count):
            progress(f"workers, round {number + 1} of {count}")
            for new in (False, True):
                asked = partial(
                    load_together,
                    WITH_CERTIFICATES,
                    connections=_CONNECTIONS,
                    seconds=seconds,
                    headers=NEW if new else {},
                )
                for name, server in running.items():
                    loads.setdefault((name, new), []).append(asked([server], threads=_SERVERS))
                loads.setdefault((_CONTROL, new), []).append(asked(list(control.values())))
    rows = []
    for new in (False, True):
        for engine, workers in cases:
            one = loads[_name(engine, 1), new]
            rows.append(
                _row(_name(engine, workers), workers, new=new, loads=loads[_name(engine, workers), new], one=one)
            )
            if (engine, workers) == (ENGINES[0], _SERVERS):
                rows.append(_row(_CONTROL, _SERVERS, new=new, loads=loads[_CONTROL, new], one=one))
    return rows


def _name(engine: str, workers: int) -> str:
    return f"{engine}, {workers} workers"


def _row(name: str, count: int, *, new: bool, loads: list[Load], one: list[Load]) -> Row:
    pairs = list(zip(loads, one, strict=True))
    return Row(
        part="workers",
        name=f"{name}, {_CONNECTIONS} {'new' if new else 'kept'} connections",
        figures={
            "cpu us": median(load.cpu_us for load in loads),
            "requests/s": median(load.per_second for load in loads),
            "times one": median(load.per_second / other.per_second for load, other in pairs),
            "CPU times one": median(load.cpu_us / other.cpu_us for load, other in pairs),
            "cores": median(sum(load.busy_cores) for load in loads),
            "generator cores": median(load.generator_cores for load in loads),
            "least busy": median(_least(load, count) for load in loads),
            "p99 ms": median(load.p99_ms for load in loads),
            "errors": sum(load.errors for load in loads),
        },
    )


def _least(load: Load, count: int) -> float:
    """Return the CPU of the least busy worker as a part of an even share. The parent is the least busy of all."""
    workers = (*load.busy_cores, *[0.0] * count)[:count]
    return min(workers) * count / (sum(workers) or 1.0)


def stopped(*, count: int, seconds: float) -> list[Row]:
    """Measure latencies with two workers, one of which is stopped again and again, and without stops.

    Raises NoGenerator.
    """
    open_loop.generator()
    configurations = {engine: (("--server", engine, "--workers", "2"), KIND) for engine in ENGINES}
    with servers(configurations) as running:
        cases = {
            f"{engine}, 2 workers, {kind} connections, {'one' if stops else 'none'} stopped": partial(
                rounds.measure,
                server,
                part=0.5,
                seconds=seconds,
                connections=_CONNECTIONS,
                close=kind == "new",
                during=partial(_stops, server) if stops else nullcontext,
            )
            for engine, server in running.items()
            for kind in ("kept", "new")
            for stops in (False, True)
        }
        found = rounds.by_turns(cases, rounds=count, turns=2 * count, what="a worker is stopped")
    return [Row(part="workers", name=name, figures=rounds.figures(each)) for name, each in found.items()]


@contextmanager
def _stops(server: Server) -> Iterator[None]:
    """While the block lasts, stop a worker for a moment, once a second."""
    # The parent is the first of its tree, and a process of the clock's may be among the others.
    worker = process_tree(server.process.pid)[1]
    ended = threading.Event()

    def stop_and_continue() -> None:
        while not ended.wait(_STOP_EVERY_SECONDS - _STOP_SECONDS):
            os.kill(worker, signal.SIGSTOP)
            time.sleep(_STOP_SECONDS)
            os.kill(worker, signal.SIGCONT)

    thread = threading.Thread(target=stop_and_continue)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def run(*, quick: bool) -> list[Row]:
    """Measure and return the table's rows."""
    count, seconds = (1, 1.0) if quick else (5, 2.0)
    return [*scaling(count=count, seconds=seconds), *stopped(count=count, seconds=1.5 * seconds)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round")
    print_rows(run(quick=parser.parse_args().quick))


if __name__ == "__main__":
    main()
