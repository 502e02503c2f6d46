"""An open-loop load generator: it asks at a given rate, whether or not the server has answered what was asked before.

    python -m bench.open_loop PORT RATE SECONDS [--connections 64] [--close]

wrk asks when an answer has come: while a server pauses it asks nothing, so the pause counts once. Here each request has
a time at which it is due, as if many clients came independently (a Poisson process). Its latency counts from then, also
when all connections were busy. So a pause counts for everybody who came meanwhile: no coordinated omission. Every reply
is looked at, and one that is not granted is an error.

It prints one line of JSON. `late_ms` says how late the generator itself was, at the 99.9th percentile, where a
connection was free. That time is in the latencies too, so they are never too good.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import select
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Any

from tsa_core.testing import encode_request

_GRANTED = b"\x30\x03\x02\x01\x00"
"""PKIStatusInfo with nothing but granted."""
_REPLY_OCTETS = 65_536
_PATIENCE_SECONDS = 5.0
"""How long answers are waited for after the last request."""
_SLACK_SECONDS = 60
_PERCENTILES = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999}


@dataclass(frozen=True, kw_only=True)
class Latencies:
    """What one run measured, in milliseconds."""

    requests: int
    per_second: float
    errors: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    late_ms: float
    cpu_us: float
    """CPU of the generator for each request, in microseconds."""


class _Connection:
    __slots__ = ("due", "received", "stream")

    def __init__(self, port: int) -> None:
        self.stream = socket.create_connection(("127.0.0.1", port), _PATIENCE_SECONDS)
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self.received = b""


class OpenLoop:
    """Asks a server for timestamps at `rate` requests per second for so long, over so many connections at most.

    With `close` each request has a connection of its own.
    """

    def __init__(self, port: int, *, rate: float, seconds: float, connections: int, close: bool = False) -> None:
        self._port = port
        self._close = close
        self._rate = rate
        self._seconds = seconds
        self._poll = select.epoll()
        self._kept: dict[int, _Connection] = {}
        """All that are open, by descriptor."""
        self._free: deque[_Connection | None] = deque(None if close else self._open() for _ in range(connections))
        """Kept connections that await no answer; None where one is opened for each request."""
        self._busy: set[_Connection] = set()
        body = encode_request()
        last = "Connection: close\r\n" if close else ""
        self._request = (
            f"POST /api/v1/timestamp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{last}"
            f"Content-Type: application/timestamp-query\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode("ascii") + body
        self._latencies: list[float] = []
        self._late: list[float] = []
        self._errors = 0

    def run(self) -> Latencies:
        """Ask, wait for the last answers, and return what was measured."""
        started, used = perf_counter(), process_time()
        waiting: deque[float] = deque()
        """When the requests were due that no connection was free for."""
        dues = self._due_times(started)
        due = next(dues, None)
        gives_up = started + self._seconds + _PATIENCE_SECONDS
        while (due is not None or waiting or self._busy) and (now := perf_counter()) < gives_up:
            while due is not None and due <= now:
                if self._free:
                    self._late.append(now - due)
                    self._ask(due)
                    now = perf_counter()
                else:
                    waiting.append(due)
                due = next(dues, None)
            pause = _PATIENCE_SECONDS if due is None else max(0.0, due - now)
            # epoll itself knows only whole milliseconds.
            if select.select([self._poll], [], [], pause)[0]:
                for descriptor, _ in self._poll.poll(0):
                    self._read(self._kept[descriptor])
                while waiting and self._free:
                    self._ask(waiting.popleft())
        elapsed = perf_counter() - started
        self._errors += len(self._busy) + len(waiting)
        for connection in self._kept.values():
            connection.stream.close()
        self._poll.close()
        return self._result(elapsed, process_time() - used)

    def _due_times(self, started: float) -> Iterator[float]:
        chance = random.Random(1)
        due, ends = started, started + self._seconds
        while (due := due + chance.expovariate(self._rate)) < ends:
            yield due

    def _open(self) -> _Connection:
        connection = _Connection(self._port)
        descriptor = connection.stream.fileno()
        self._kept[descriptor] = connection
        self._poll.register(descriptor, select.EPOLLIN)
        return connection

    def _ask(self, due: float) -> None:
        try:
            connection = self._free.popleft() or self._open()
        except OSError:
            self._failed()
            return
        connection.due = due
        self._busy.add(connection)
        try:
            connection.stream.send(self._request)
        except OSError:
            self._drop(connection)
            self._failed()

    def _read(self, connection: _Connection) -> None:
        try:
            data = connection.stream.recv(_REPLY_OCTETS)
        except OSError:
            data = b""
        if connection not in self._busy:  # the server has closed a connection that was idle
            self._free[self._free.index(connection)] = None
            self._drop(connection)
            return
        connection.received += data
        head, found, body = connection.received.partition(b"\r\n\r\n")
        head = head.lower()
        last = b"\r\nconnection: close" in head
        if data and (last or not (found and len(body) >= _content_length(head))):
            return  # the server closes first, so that ports are free again
        if body[4:9] == _GRANTED:
            self._latencies.append(perf_counter() - connection.due)
        else:
            self._errors += 1
        if data:
            self._busy.discard(connection)
            connection.received = b""
            self._free.append(connection)
        else:
            self._drop(connection)
            self._free.append(None)  # opened again when it is needed

    def _drop(self, connection: _Connection) -> None:
        self._busy.discard(connection)
        del self._kept[connection.stream.fileno()]
        connection.stream.close()

    def _failed(self) -> None:
        """Count a request that was not answered, whose connection is gone."""
        self._errors += 1
        self._free.append(None)  # opened again when it is needed

    def _result(self, elapsed: float, used: float) -> Latencies:
        ordered = sorted(self._latencies) or [float("nan")]
        late = sorted(self._late) or [0.0]
        count = max(1, len(self._latencies))
        return Latencies(
            requests=len(self._latencies),
            per_second=len(self._latencies) / elapsed,
            errors=self._errors,
            max_ms=ordered[-1] * 1000,
            late_ms=_at(late, 0.999) * 1000,
            cpu_us=used * 1e6 / count,
            **{name: _at(ordered, part) * 1000 for name, part in _PERCENTILES.items()},
        )


def _content_length(head: bytes) -> int:
    at = head.find(b"\r\ncontent-length:")
    return int(head[at + 17 :].partition(b"\r\n")[0]) if at >= 0 else 0


def _at(ordered: Sequence[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def measure(port: int, *, rate: float, seconds: float, connections: int = 64, close: bool = False) -> Latencies:
    """Ask from a process of its own, which has the interpreter for itself."""
    command = [sys.executable, "-m", "bench.open_loop", str(port), str(rate), str(seconds)]
    command += ["--connections", str(connections), *(["--close"] if close else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + _SLACK_SECONDS)
    if done.returncode:
        raise RuntimeError(f"bench.open_loop failed: {done.stderr.strip().splitlines()[-1]}")
    figures: dict[str, Any] = json.loads(done.stdout)
    return Latencies(**figures)


def main() -> None:
    """Ask and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.open_loop", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("port", type=int, help="of 127.0.0.1")
    parser.add_argument("rate", type=float, help="requests per second")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--close", action="store_true", help="a connection for each request")
    given = parser.parse_args()
    loop = OpenLoop(
        given.port, rate=given.rate, seconds=given.seconds, connections=given.connections, close=given.close
    )
    gc.disable()
    print(json.dumps(vars(loop.run())))


if __name__ == "__main__":
    main()
