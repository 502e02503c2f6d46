"""An open-loop load generator: it asks at a given rate, whether or not the server has answered what was asked before.

    python -m bench.open_loop PORT RATE SECONDS [--connections 64] [--close]

wrk asks when an answer has come: while a server pauses it asks nothing, so the pause counts once. Here each request has
a time at which it is due, as if many clients came independently (a Poisson process). Its latency counts from then, also
when all connections were busy. So a pause counts for everybody who came meanwhile: no coordinated omission. Every reply
is looked at, and one that is not granted is an error. With a rate of 0 each connection asks when it has its answer: the
most that a server does for this generator.

The generator is a program in C (open_loop.c): one in Python takes as much of the machine as the server does, so that
the server is measured on what is left. It is built once, with `cc`, into the folder for caches.

It prints its figures. `generator late ms` says how late the generator itself was, at the 99.9th percentile, where a
connection was free. It has nothing else to do, so that is the machine. That time is in the latencies too.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.measure import RunningServer, cpu_seconds
from tsa_core.testing import encode_request

_SOURCE = Path(__file__).with_suffix(".c")
_COMPILER = "cc"
_SLACK_SECONDS = 60
_PERCENTILES = (0.5, 0.99, 0.999)
_TICKS = os.sysconf("SC_CLK_TCK")
_STOLEN = 7
"""Which of the figures of /proc/stat is the time that the host took."""
_IDLE = (3, 4)
"""Those that are idle: one is said to wait for a disk meanwhile."""
_GUEST = 8
"""From here on, time is counted a second time."""


@dataclass(frozen=True, kw_only=True)
class Latencies:
    """What one run measured."""

    seconds: float
    errors: int
    cpu_seconds: float
    """CPU of the generator."""
    latencies_ms: Sequence[float]
    """Of all requests that were answered."""
    late_ms: Sequence[float]
    """By how much the generator was late, for all requests that it made."""

    @property
    def per_second(self) -> float:
        """Requests that were answered per second."""
        return len(self.latencies_ms) / self.seconds

    @property
    def generator_cores(self) -> float:
        """How much of a core the generator used."""
        return self.cpu_seconds / self.seconds


def figures(runs: Sequence[Latencies]) -> dict[str, float]:
    """Return the figures of a table, over all requests of all runs: a pause counts in whichever run it was."""
    latencies = sorted(each for run in runs for each in run.latencies_ms) or [float("nan")]
    late = sorted(each for run in runs for each in run.late_ms) or [float("nan")]
    return {
        "requests/s": median(run.per_second for run in runs),
        **{f"p{100 * part:g} ms": _at(latencies, part) for part in _PERCENTILES},
        "worst ms": latencies[-1],
        "generator late ms": _at(late, _PERCENTILES[-1]),
        "generator cores": median(run.generator_cores for run in runs),
        "errors": sum(run.errors for run in runs),
    }


def _at(ordered: Sequence[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


@dataclass(frozen=True, kw_only=True)
class Run:
    """Latencies, and what the machine did meanwhile."""

    latencies: Latencies
    server_cores: float
    """How much of the cores the server used."""
    other_cores: float
    """How much of the cores others used than the server and the generator, the kernel's own work among them."""
    stolen_cores: float
    """How much of the cores the host of a virtual machine took."""


class NoGenerator(RuntimeError):
    """The generator cannot be built on this machine; the text says why."""


def generator() -> Path:
    """Return the generator, built when this source has not been built before; raises NoGenerator."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tsa-core-bench"
    program = cache / f"open-loop-{hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:16]}"
    if program.exists():
        return program
    if shutil.which(_COMPILER) is None:
        raise NoGenerator(f"bench/open_loop.c is built with {_COMPILER}, which is not on the path")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        built = Path(folder) / "open-loop"
        command = [_COMPILER, "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(built), str(_SOURCE), "-lm"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SLACK_SECONDS)
        if done.returncode:
            raise NoGenerator(f"{_COMPILER} does not build bench/open_loop.c: {done.stderr.strip()[:300]}")
        built.replace(program)
    return program


def ask(port: int, *, rate: float, seconds: float, connections: int, close: bool = False) -> Latencies:
    """Ask a server for timestamps at `rate` requests per second for so long, over so many connections at most.

    With `close` each request has a connection of its own. Raises NoGenerator, and RuntimeError when it fails.
    """
    body = encode_request()
    last = "Connection: close\r\n" if close else ""
    request = (
        f"POST /api/v1/timestamp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{last}"
        f"Content-Type: application/timestamp-query\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode("ascii") + body
    command = [str(generator()), str(port), str(rate), str(seconds), str(connections), "0" if close else "1"]
    done = subprocess.run(command, input=request, capture_output=True, check=False, timeout=seconds + _SLACK_SECONDS)
    if done.returncode:
        raise RuntimeError(f"bench/open_loop.c failed: {done.stderr.decode(errors='replace').strip()}")
    found: dict[str, Any] = json.loads(done.stdout)
    return Latencies(**found)


def measure(server: RunningServer, *, rate: float, seconds: float, connections: int = 64, close: bool = False) -> Run:
    """Ask a server as `ask` does, and account for the machine meanwhile."""
    pid = server.process.pid
    used, (busy, stolen) = cpu_seconds(pid), _machine_seconds()
    found = ask(server.port, rate=rate, seconds=seconds, connections=connections, close=close)
    used, (busy_now, stolen_now) = cpu_seconds(pid) - used, _machine_seconds()
    return Run(
        latencies=found,
        server_cores=used / found.seconds,
        other_cores=max(0.0, busy_now - busy - used - found.cpu_seconds) / found.seconds,
        stolen_cores=(stolen_now - stolen) / found.seconds,
    )


def _machine_seconds() -> tuple[float, float]:
    """Return the CPU time that all cores have been busy, and what the host took of them, in seconds."""
    fields = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0].split()[1:]
    counted = [int(each) / _TICKS for each in fields][:_GUEST]
    return sum(each for at, each in enumerate(counted) if at not in (*_IDLE, _STOLEN)), counted[_STOLEN]


def main() -> None:
    """Ask and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.open_loop", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("port", type=int, help="of 127.0.0.1")
    parser.add_argument("rate", type=float, help="requests per second; 0: when the answer has come")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--close", action="store_true", help="a connection for each request")
    given = parser.parse_args()
    try:
        found = ask(
            given.port, rate=given.rate, seconds=given.seconds, connections=given.connections, close=given.close
        )
    except RuntimeError as error:
        sys.exit(str(error))
    print(json.dumps(figures([found])))


if __name__ == "__main__":
    main()
