"""What the benchmarks measure with: the operating system's account of CPU time, wrk, and bare signatures."""

from __future__ import annotations

import http.client
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
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
    kernel_us: float = 0.0
    """The part of `cpu_us` that the kernel used."""
    generator_cores: float = 0.0
    """How much of a core the load generator used."""
    busy_cores: Sequence[float] = ()
    """How much of a core each process of the server used that used any worth the name, the busiest first."""

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
    return sum(map(sum, _cpu_by_process(pid).values()))


def _cpu_by_process(pid: int) -> dict[int, tuple[float, float]]:
    """Return the CPU seconds that a process and each of its descendants have used: user and system, by process id."""
    used = {}
    for each in process_tree(pid):
        fields = Path(f"/proc/{each}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        used[each] = int(fields[11]) / _TICKS, int(fields[12]) / _TICKS
    return used


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

FLOOR = ("floor",)
"""In place of flags of `serve`: the loop of bench.floor."""
_EXACT = 'function done(summary) io.write(string.format("octets %d\\n", summary.bytes)) end\n'
"""wrk prints octets rounded; of all replies together they say whether tokens were granted."""
_GRANTED = b"\x30\x03\x02\x01\x00"
"""PKIStatusInfo with nothing but granted."""
_VARYING_OCTETS = 16
"""By how much granted replies differ in length, at most; a refusal is shorter by hundreds."""
_BUSY_CORES = 0.005
"""A process that uses less only watches others."""


class RunningServer:
    """The process of a server on a port of the loopback interface; `path` is where it answers timestamp requests."""

    path = "/api/v1/timestamp"

    def __init__(self, command: Sequence[str], *, port: int, environment: Mapping[str, str] | None = None) -> None:
        self.port = port
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the server
        started = time.monotonic()
        try:
            self.process = subprocess.Popen(command, stdout=self._log, stderr=self._log, env=environment)
        except OSError:
            self._log.close()
            raise
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > started + _START_SECONDS:
                self._log.seek(0)
                text = self._log.read().decode(errors="replace")[-2000:]
                self.close()
                raise RuntimeError(f"the server did not start: {text}")
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
        return self._exchange("POST", self.path, body)

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
        threads: int = 1,
    ) -> Load:
        """Let wrk send one request over and over, and account for the server's CPU meanwhile.

        wrk knows whole seconds alone; its `threads` share the connections. After each reply a connection pauses for up
        to twice `pause_ms`, which is rounded to half milliseconds.
        """
        with tempfile.TemporaryDirectory() as directory:
            script = Path(directory) / "post.lua"
            octets = "".join(f"\\{octet:03d}" for octet in body)
            pause = f"function delay() return math.random(0, {round(2 * pause_ms)}) end\n" if pause_ms else ""
            sent = {"Content-Type": QUERY, **(headers or {})}
            lines = "".join(f'wrk.headers["{name}"] = "{value}"\n' for name, value in sent.items())
            script.write_text(f'wrk.method = "POST"\nwrk.body = "{octets}"\n{lines}{pause}{_EXACT}', encoding="ascii")
            reply = self._whole_reply(body, sent)
            before, generator = _cpu_by_process(self.process.pid), _children_cpu()
            result = subprocess.run(
                [
                    *("wrk", "--threads", str(threads), "--connections", str(connections), "--latency"),
                    *("--duration", f"{max(1, round(seconds))}s", "--timeout", "10s", "--script", str(script)),
                    f"http://127.0.0.1:{self.port}{self.path}",
                ],
                capture_output=True,
                text=True,
                check=True,
                timeout=seconds + 60,
            )
            generator = _children_cpu() - generator
            used = {
                pid: (user - before.get(pid, (0.0, 0.0))[0], system - before.get(pid, (0.0, 0.0))[1])
                for pid, (user, system) in _cpu_by_process(self.process.pid).items()
            }
        load = _read_wrk(result.stdout, sum(map(sum, used.values())))
        exact = re.search(r"^octets (\d+)$", result.stdout, re.MULTILINE)
        self.check_granted(reply, int(exact[1]) / max(load.requests, 1) if exact else float("inf"))
        busy = sorted((sum(each) / load.seconds for each in used.values()), reverse=True)
        return replace(
            load,
            kernel_us=sum(system for _, system in used.values()) * 1e6 / max(load.requests, 1),
            generator_cores=generator / load.seconds,
            busy_cores=[each for each in busy if each >= _BUSY_CORES],
        )

    def check_granted(self, reply: bytes, octets: float) -> None:
        """Raise RuntimeError when replies were on average so many octets long that some of them were refusals."""
        if _GRANTED in reply and octets < len(reply) - _VARYING_OCTETS:
            raise RuntimeError(
                f"a granted reply has {len(reply)} octets, and those under load had {octets:.0f} on average: "
                "some requests were refused"
            )

    def _whole_reply(self, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Return one reply as it comes, with its head."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
        received = b""
        with socket.create_connection(("127.0.0.1", self.port), 30) as stream:
            stream.sendall(head.encode("ascii") + body)
            while not is_whole(received) and (part := stream.recv(65_536)):
                received += part
        return received

    def close(self) -> None:
        """Stop the server."""
        self.process.terminate()
        self.process.wait(30)
        self._log.close()


class Server(RunningServer):
    """A `timestamp-server serve` on a free port of the loopback interface."""

    def __init__(
        self, *arguments: str, environment: dict[str, str] | None = None, python: Path = Path(sys.executable)
    ) -> None:
        port = free_port()
        # -P: what that Python has installed, not this folder.
        serve = [str(python), "-P", "-m", "tsa_core.cli.server", "serve", "--port", str(port), *arguments]
        super().__init__(
            [sys.executable, "-m", "bench.floor", str(port)] if arguments == FLOOR else serve,
            port=port,
            environment={**_ENVIRONMENT, **UNWATCHED, **(environment or {})},
        )


def load_together(
    body: bytes,
    servers: Sequence[RunningServer],
    *,
    connections: int,
    seconds: float,
    headers: Mapping[str, str],
    threads: int = 1,
) -> Load:
    """Load servers at the same time, each with its part of the connections, and account for them as for one.

    Each has a generator with so many threads. The latencies are the worst server's.
    """

    def load(server: RunningServer) -> Load:
        part = connections // len(servers)
        return server.load(body, connections=part, seconds=seconds, headers=headers, threads=threads)

    generator = _children_cpu()
    with ThreadPoolExecutor(len(servers)) as pool:
        loads = list(pool.map(load, servers))
    generator = _children_cpu() - generator
    requests = sum(load.requests for load in loads)
    longest = max(load.seconds for load in loads)
    return Load(
        requests=requests,
        seconds=longest,
        cpu_us=sum(load.cpu_us * load.requests for load in loads) / max(requests, 1),
        p50_ms=max(load.p50_ms for load in loads),
        p99_ms=max(load.p99_ms for load in loads),
        errors=sum(load.errors for load in loads),
        kernel_us=sum(load.kernel_us * load.requests for load in loads) / max(requests, 1),
        generator_cores=generator / longest,
        busy_cores=sorted((core for load in loads for core in load.busy_cores), reverse=True),
    )


def is_whole(received: bytes) -> bool:
    """Say whether these octets of a connection are a whole reply with a declared length."""
    head, found, body = received.partition(b"\r\n\r\n")
    at = head.lower().find(b"\r\ncontent-length:")
    return bool(found) and len(body) >= (int(head[at + 17 :].partition(b"\r\n")[0]) if at >= 0 else 0)


def _children_cpu() -> float:
    """Return the CPU seconds of the processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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
