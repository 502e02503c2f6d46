"""A client at a chosen pace: keep-alive connections on one thread, every reply handed to whoever wants it.

wrk sends as fast as it can and shows no reply; what needs a steady rate, or the replies themselves, comes from here.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.measure import QUERY

_TIMEOUT_SECONDS = 30.0
_GRANTED = bytes.fromhex("3003020100")
"""PKIStatusInfo, which follows the header of any reply of 256 bytes or more."""


@dataclass(kw_only=True)
class Run:
    """What came of a run: seconds from when a request was due until its reply was there, and failures."""

    latencies: list[float] = field(default_factory=list)
    failures: int = 0


@dataclass
class _Connection:
    stream: socket.socket
    due: float = 0.0
    sent: bytes = b""
    received: bytearray = field(default_factory=bytearray)


def ask(
    port: int,
    bodies: Iterator[bytes],
    *,
    connections: int,
    per_second: float | None = None,
    seconds: float = float("inf"),
    taken: list[tuple[bytes, bytes]] | None = None,
) -> Run:
    """Send `bodies` over `connections`, at most `per_second`, until they or the seconds end.

    `taken` gets each request with its reply. A request is due at its time whether or not a connection is free, so a
    server that falls behind shows in the latencies (no coordinated omission).
    """
    run = Run()
    poll = select.epoll()
    opened = [_Connection(socket.create_connection(("127.0.0.1", port), _TIMEOUT_SECONDS)) for _ in range(connections)]
    by_descriptor = {each.stream.fileno(): each for each in opened}
    for each in opened:
        each.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(each.stream.fileno(), select.EPOLLIN)
    free, busy = list(opened), 0
    start = time.monotonic()
    sent, ended = 0, False
    while True:
        now = time.monotonic()
        while free and not ended:
            due = start + sent / per_second if per_second else now
            if due > now:
                break
            body = next(bodies, None) if now < start + seconds else None
            if body is None:
                ended = True
                break
            connection = free.pop()
            connection.due, connection.sent = due, body
            connection.stream.send(_head(len(body)) + body)
            sent += 1
            busy += 1
        if ended and not busy:
            break
        wait = max(0.0, start + sent / per_second - now) if per_second and free and not ended else _TIMEOUT_SECONDS
        events = poll.poll(min(wait, _TIMEOUT_SECONDS))
        if not events and wait >= _TIMEOUT_SECONDS:
            raise TimeoutError("the server does not answer")
        for descriptor, _ in events:
            connection = by_descriptor[descriptor]
            reply = _receive(connection)
            if reply is None:
                continue
            run.latencies.append(time.monotonic() - connection.due)
            run.failures += reply[4:9] != _GRANTED
            if taken is not None:
                taken.append((connection.sent, reply))
            free.append(connection)
            busy -= 1
    for each in opened:
        each.stream.close()
    poll.close()
    return run


def _head(size: int) -> bytes:
    return (
        f"POST /api/v1/timestamp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {QUERY}\r\nContent-Length: {size}\r\n\r\n"
    ).encode("ascii")


def _receive(connection: _Connection) -> bytes | None:
    """Read what is there; return a reply's body once it is whole."""
    data = connection.stream.recv(262_144)
    if not data:
        raise ConnectionError("the server closed a connection in use")
    connection.received += data
    head, found, body = connection.received.partition(b"\r\n\r\n")
    if not found:
        return None
    size = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    if len(body) < size:
        return None
    connection.received.clear()
    return bytes(body)
