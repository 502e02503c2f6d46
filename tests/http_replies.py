"""Reads replies from a connection on which a test has written requests itself, octet by octet."""

from __future__ import annotations

import socket
from typing import BinaryIO, NamedTuple, cast


class RawReply(NamedTuple):
    """One reply: its status, its head in lower case, and as much of a body as Content-Length says."""

    status: int
    head: bytes
    body: bytes


def replies_on(connection: socket.socket) -> BinaryIO:
    """Return the stream of a connection's replies: one for all of them, because it reads ahead."""
    return cast("BinaryIO", connection.makefile("rb"))


def next_reply(stream: BinaryIO) -> RawReply:
    """Return the next reply; raises AssertionError where none begins."""
    lines = [stream.readline()]
    assert lines[0].startswith(b"HTTP/1."), lines[0]
    while lines[-1] not in {b"\r\n", b""}:
        lines.append(stream.readline())
    head = b"".join(lines).lower()
    declared = (line.partition(b":")[2] for line in head.splitlines() if line.startswith(b"content-length:"))
    return RawReply(int(head.split()[1]), head, stream.read(int(next(declared, b"0"))))


def only_reply(connection: socket.socket) -> RawReply:
    """Return the reply to the one request that is under way on a connection."""
    with replies_on(connection) as stream:
        return next_reply(stream)


def turned_away(address: tuple[str, int]) -> bool:
    """Say whether a new connection is refused, or closed before anything was answered; TimeoutError is neither."""
    ping = b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection(address, timeout=5) as connection:
            connection.sendall(ping)
            return connection.recv(1) == b""
    except TimeoutError:
        raise
    except OSError:
        return True
