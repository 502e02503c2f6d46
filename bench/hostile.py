"""What honest clients wait while others mean harm: `python -m bench.hostile [--workers N] [--before PYTHON]`.

Each attack runs against a server of its own, with default limits. Meanwhile an honest client, at another address but
for one attack, gets timestamps one after the other, each on a new connection. `--before` names the Python of an
environment with another version of tsa-core, which is measured beside this one.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.measure import Server
from bench.report import machine, progress
from tsa_core.testing import encode_request

BODY = encode_request()
REQUEST = (
    "POST /api/v1/timestamp HTTP/1.1\r\nHost: tsa.example\r\nContent-Type: application/timestamp-query\r\n"
    f"Connection: close\r\nContent-Length: {len(BODY)}\r\n\r\n"
).encode() + BODY
HONEST_SECONDS = 75.0
"""Whoever waits longer is shut out."""
_MEASURED_SECONDS = 8.0
_PAUSE_SECONDS = 0.04
_ONE = ("127.0.0.2",)
_MANY = tuple(f"127.0.1.{number}" for number in range(1, 101))
_SAME = ("127.0.0.1",)
ATTACKS: dict[str, tuple[str, Sequence[str]]] = {
    "1,010 unfinished heads, one address": ("heads", _ONE),
    "1,010 unfinished heads, the honest client's own address": ("heads", _SAME),
    "1,010 unfinished heads, 100 addresses": ("heads", _MANY),
    "1,010 idle connections, one address": ("silence", _ONE),
    "1,010 idle connections, 100 addresses": ("silence", _MANY),
    "1,010 unfinished bodies, one address": ("bodies", _ONE),
    "1,010 unfinished bodies, 100 addresses": ("bodies", _MANY),
    "200 heads of 15,992 equal names, again and again": ("names", _ONE),
    "50 bodies in chunks of one octet, again and again": ("chunks", _ONE),
    "16 connections of 1,000 pipelined requests, again and again, one address": ("pipelines", _ONE),
    "16 connections of 1,000 pipelined requests, the honest client's own address": ("pipelines", _SAME),
    "16 connections of 1,000 pipelined requests, 16 addresses": ("pipelines", _MANY),
    "16 connections of 1,000 pipelined GET /ping, one address": ("pings", _ONE),
    "500 connections of 1,000 pipelined requests, one address": ("crowd", _ONE),
}
SERVERS = {"waitress": ("--server", "waitress"), "granian": ("--server", "granian")}


@dataclass(frozen=True, kw_only=True)
class Waits:
    """How long honest exchanges took, in milliseconds, and how many failed or were given up."""

    milliseconds: Sequence[float]
    failed: int

    def __str__(self) -> str:
        """Return median and maximum."""
        if not self.milliseconds:
            return f"none of {self.failed} served"
        text = f"{_rounded(median(self.milliseconds))}, {_rounded(max(self.milliseconds))}"
        return text + (f" ({self.failed} of {self.failed + len(self.milliseconds)} not served)" if self.failed else "")


def _rounded(milliseconds: float) -> str:
    return f"{milliseconds / 1000:.1f} s" if milliseconds >= 1000 else f"{milliseconds:.0f} ms"


def _exchange(port: int) -> float | None:
    """Get one timestamp; returns the seconds it took, None when it failed."""
    started = time.monotonic()
    received = b""
    try:
        with socket.create_connection(("127.0.0.1", port), HONEST_SECONDS, source_address=("127.0.0.1", 0)) as stream:
            stream.sendall(REQUEST)
            while part := stream.recv(65_536):
                received += part
    except OSError:
        return None
    return time.monotonic() - started if received.startswith(b"HTTP/1.1 200") else None


@contextmanager
def attacked(port: int, kind: str, sources: Sequence[str]) -> Iterator[None]:
    """Let a process of its own hold connections to a server while the block lasts."""
    attacker = subprocess.Popen(
        [sys.executable, "-m", "bench.attackers", kind, str(port), ",".join(sources), "300"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert attacker.stdout is not None
        attacker.stdout.readline()
        time.sleep(0.5)
        yield
    finally:
        attacker.kill()
        attacker.wait()
        if attacker.stdout is not None:
            attacker.stdout.close()


def honest_waits(port: int, *, seconds: float = _MEASURED_SECONDS) -> Waits:
    """Get timestamps for so long, one after the other, each on a new connection."""
    served, failed = [], 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        took = _exchange(port)
        if took is None:
            failed += 1
        else:
            served.append(took * 1000)
        time.sleep(_PAUSE_SECONDS)
    return Waits(milliseconds=served, failed=failed)


def measure(flags: Sequence[str], kind: str, sources: Sequence[str], *, python: Path) -> Waits:
    """Attack a server, and measure an honest client meanwhile."""
    server = Server(*flags, python=python)
    try:
        with attacked(server.port, kind, sources):
            return honest_waits(server.port)
    finally:
        server.close()


def main() -> None:
    """Run the attacks and print one table."""
    parser = argparse.ArgumentParser(prog="python -m bench.hostile", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--before", type=Path, metavar="PYTHON", help="another version's Python, measured too")
    parser.add_argument("--only", metavar="TEXT", default="", help="the attacks whose name contains this")
    parser.add_argument("--server", choices=SERVERS, help="one server alone")
    parser.add_argument("--workers", type=int, default=1, help="processes of each server (1)")
    arguments = parser.parse_args()
    for name, value in machine().items():
        print(f"{name}: {value}")
    versions = {"now": Path(sys.executable)}
    if arguments.before:
        versions = {"before": arguments.before, **versions}
    names = [name for name in SERVERS if arguments.server in {None, name}]
    columns = [f"{server}, {version}" for server in names for version in versions]
    print("\n| attack | " + " | ".join(columns) + " |\n|---" + "|---" * len(columns) + "|", flush=True)
    for attack, (kind, sources) in ATTACKS.items():
        if arguments.only not in attack:
            continue
        cells = []
        for server in names:
            for version, python in versions.items():
                progress(f"{attack}: {server}, {version}")
                flags = (*SERVERS[server], "--workers", str(arguments.workers))
                cells.append(str(measure(flags, kind, sources, python=python)))
        print(f"| {attack} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
