"""What the benchmarks measure with: the operating system's account of CPU time, wrk, and bare signatures."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import median

from tsa_core.protocol.signatures import signature_algorithm
from tsa_core.testing.pki import shared_key

_TICKS = os.sysconf("SC_CLK_TCK")
_START_SECONDS = 30.0
QUERY = "application/timestamp-query"
UNWATCHED = {"TSA_METRICS__ENABLED": "false", "TSA_LOG__ACCESS": "false"}
"""What servers run without unless they are told otherwise; bench.observability measures it by itself."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What one run of wrk did, and what it cost the server."""

    requests: int
    seconds: float
    cpu_us: float
    """CPU of the server's processes, user and system, for each request, in microseconds."""
    p50_ms: float
    p99_ms: float
    errors: int

    @property
    def per_second(self) -> float:
        """Requests per second of wall time."""
        return self.requests / self.seconds


def process_tree(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [pid, *(each for child in children for each in process_tree(int(child)))]


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process and its descendants have used, from /proc."""
    total = 0
    for each in process_tree(pid):
        fields = Path(f"/proc/{each}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def resident_mib(pid: int) -> float:
    """Return the resident memory of one process, in MiB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) / 1024


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""A server that finds no bytecode compiles itself at every start, which takes longer than the start."""

BARE_LOOP = ("bare loop",)
"""In place of flags of `serve`: the socket loop of bench.bare_loop."""


class Server:
    """A `timestamp-server serve` on a free port of the loopback interface."""

    def __init__(
        self, *arguments: str, environment: dict[str, str] | None = None, python: Path = Path(sys.executable)
    ) -> None:
        self.port = free_port()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the server
        started = time.monotonic()
        # -P: what that Python has installed, not this folder.
        serve = [str(python), "-P", "-m", "tsa_core.cli.server", "serve", "--port", str(self.port), *arguments]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.bare_loop", str(self.port)] if arguments == BARE_LOOP else serve,
            stdout=self._log,
            stderr=self._log,
            env={**_ENVIRONMENT, **UNWATCHED, **(environment or {})},
        )
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > started + _START_SECONDS:
                self._log.seek(0)
                raise RuntimeError(f"the server did not start: {self._log.read().decode()[-2000:]}")
            time.sleep(0.005)
        self.start_seconds = time.monotonic() - started

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def post(self, body: bytes) -> bytes:
        """Send one DER request and return the reply's body."""
        return self._exchange("POST", "/api/v1/timestamp", body)

    def get(self, path: str) -> bytes:
        """Return what a path gives."""
        return self._exchange("GET", path)

    def _exchange(self, method: str, path: str, body: bytes | None = None) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {"Content-Type": QUERY} if body else {})
            return connection.getresponse().read()
        finally:
            connection.close()

    def load(
        self,
        body: bytes,
        *,
        connections: int,
        seconds: float,
        pause_ms: float = 0.0,
        headers: Mapping[str, str] | None = None,
    ) -> Load:
        """Let wrk send one request over and over, and account for the server's CPU meanwhile.

        After each reply a connection pauses for up to twice `pause_ms`, which is rounded to half milliseconds.
        """
        with tempfile.TemporaryDirectory() as directory:
            script = Path(directory) / "post.lua"
            octets = "".join(f"\\{octet:03d}" for octet in body)
            pause = f"function delay() return math.random(0, {round(2 * pause_ms)}) end\n" if pause_ms else ""
            sent = {"Content-Type": QUERY, **(headers or {})}
            lines = "".join(f'wrk.headers["{name}"] = "{value}"\n' for name, value in sent.items())
            script.write_text(f'wrk.method = "POST"\nwrk.body = "{octets}"\n{lines}{pause}', encoding="ascii")
            before = cpu_seconds(self.process.pid)
            result = subprocess.run(
                [
                    *("wrk", "--threads", "1", "--connections", str(connections), "--latency"),
                    *("--duration", f"{seconds:g}s", "--timeout", "10s", "--script", str(script)),
                    f"http://127.0.0.1:{self.port}/api/v1/timestamp",
                ],
                capture_output=True,
                text=True,
                check=True,
                timeout=seconds + 60,
            )
            used = cpu_seconds(self.process.pid) - before
        return _read_wrk(result.stdout, used)

    def close(self) -> None:
        """Stop the server."""
        self.process.terminate()
        self.process.wait(30)
        self._log.close()


def _read_wrk(text: str, cpu: float) -> Load:
    found = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", text)
    assert found is not None, text
    requests = int(found[1])
    wrong = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", text)))
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return Load(
        requests=requests,
        seconds=float(found[2]) * {"ms": 0.001, "s": 1, "m": 60}[found[3]],
        cpu_us=cpu * 1e6 / max(requests, 1),
        p50_ms=_milliseconds(text, "50%"),
        p99_ms=_milliseconds(text, "99%"),
        errors=wrong + (int(refused[1]) if refused else 0),
    )


def _milliseconds(text: str, label: str) -> float:
    found = re.search(rf"^\s+{label}\s+([\d.]+)(us|ms|s|m)\s*$", text, re.MULTILINE)
    return float(found[1]) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60_000}[found[2]] if found else float("nan")


@contextmanager
def servers(configurations: Mapping[str, tuple[Sequence[str], str]]) -> Iterator[dict[str, Server]]:
    """Start a server for each (flags, kind of key) and stop them all at the end; idle ones cost nothing."""
    running: dict[str, Server] = {}
    try:
        for name, (arguments, kind) in configurations.items():
            running[name] = Server(*arguments, environment={"TSA_SIGNER__MEMORY__ALGORITHM": kind})
        yield running
    finally:
        for server in running.values():
            server.close()


def cpu_us(call: Callable[[], object], *, calls: int) -> float:
    """Return the CPU time of this process for each of `calls` calls, in microseconds."""
    before = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - before) * 1e6 / calls


@lru_cache(maxsize=16)
def _bare_signer(kind: str) -> Callable[[], object]:
    key = shared_key(kind)
    sign = signature_algorithm(key.public_key()).signing_function(key)
    message = bytes(150)
    return lambda: sign(message)


def bare_signature_us(kind: str, *, seconds: float = 0.2) -> float:
    """Return the CPU time of one signature with nothing around it: the unit of all other figures."""
    call = _bare_signer(kind)
    one = cpu_us(call, calls=5)
    calls = max(5, int(seconds * 1e6 / max(one, 1.0) / 5))
    return median(cpu_us(call, calls=calls) for _ in range(5))


def have_wrk() -> bool:
    """Say whether wrk is installed."""
    return shutil.which("wrk") is not None
