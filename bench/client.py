"""A client that keeps the replies, which wrk does not: keep-alive connections on one thread."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.measure import QUERY

_TIMEOUT_SECONDS = 30.0


@dataclass
class _Connection:
    stream: socket.socket
    sent: bytes = b""
    received: bytearray = field(default_factory=bytearray)


def ask(port: int, bodies: Iterator[bytes], *, connections: int) -> list[tuple[bytes, bytes]]:
    """Send all `bodies` over `connections` and return each with its reply, in the order of the replies."""
    poll = select.epoll()
    opened = [_Connection(socket.create_connection(("127.0.0.1", port), _TIMEOUT_SECONDS)) for _ in range(connections)]
    by_descriptor = {each.stream.fileno(): each for each in opened}
    for each in opened:
        each.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(each.stream.fileno(), select.EPOLLIN)
    busy = sum(_send(each, bodies) for each in opened)
    answered = []
    while busy:
        events = poll.poll(_TIMEOUT_SECONDS)
        if not events:
            raise TimeoutError("the server does not answer")
        for descriptor, _ in events:
            connection = by_descriptor[descriptor]
            reply = _receive(connection)
            if reply is not None:
                answered.append((connection.sent, reply))
                busy += _send(connection, bodies) - 1
    for each in opened:
        each.stream.close()
    poll.close()
    return answered


def _send(connection: _Connection, bodies: Iterator[bytes]) -> bool:
    """Send the next request; say whether there was one."""
    body = next(bodies, None)
    if body is None:
        return False
    connection.sent = body
    connection.stream.send(_head(len(body)) + body)
    return True


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
