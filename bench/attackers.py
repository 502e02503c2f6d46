"""Clients that mean harm, in a process of their own: `python -m bench.attackers KIND PORT SOURCE,... SECONDS`.

Each kind holds connections to 127.0.0.1:PORT from some addresses of this machine, in turn, and opens those again that
the server closes, a few hundred in a second. It prints `holding` once all of them have been opened.
"""

from __future__ import annotations

import select
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from tsa_core.testing import encode_request

HEAD = b"POST /api/v1/timestamp HTTP/1.1\r\nHost: tsa.example\r\nContent-Type: application/timestamp-query\r\n"
BODY = encode_request()
WHOLE = HEAD + f"Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY
KINDS = {
    "silence": (1010, b""),
    "heads": (1010, HEAD),
    "bodies": (1010, HEAD + b"Content-Length: 60\r\n\r\n0"),
    "names": (200, HEAD + b"X:\r\n" * 15_992 + b"\r\n"),
    "chunks": (50, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 60_000),
    "pipelines": (16, WHOLE * 1000),
    "pings": (16, b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n" * 1000),
    "crowd": (500, WHOLE * 1000),
}
"""How many connections each kind holds, and what it sends on each."""
_AGAIN = frozenset({"pipelines", "pings", "crowd"})
"""Kinds whose connections send their data again and again, and read the replies."""
_PER_SECOND = 200
"""Connections that are opened again; the first ones are opened as fast as the server accepts."""
_TURN_SECONDS = 0.05


def attack(kind: str, port: int, sources: Sequence[str], seconds: float) -> None:
    """Hold the connections of a kind for so long."""
    wanted, data = KINDS[kind]
    again = memoryview(data) if kind in _AGAIN else memoryview(b"")
    poll = select.poll()
    held: dict[int, tuple[socket.socket, memoryview]] = {}
    deadline = time.monotonic() + seconds
    opened = 0
    budget = float(wanted)
    said = False
    while time.monotonic() < deadline:
        while len(held) < wanted and budget >= 1:
            budget -= 1
            source = sources[opened % len(sources)]
            opened += 1
            connection = socket.socket()
            connection.setblocking(False)
            with suppress(OSError):
                connection.bind((source, 0))
            connection.connect_ex(("127.0.0.1", port))
            held[connection.fileno()] = connection, memoryview(data)
            poll.register(connection, select.POLLIN | (select.POLLOUT if data else 0))
        if not said and opened >= wanted:
            said = True
            print("holding", flush=True)
        budget = min(budget + _PER_SECOND * _TURN_SECONDS, _PER_SECOND)
        ends = time.monotonic() + _TURN_SECONDS
        while (left := ends - time.monotonic()) > 0:
            for descriptor, flags in poll.poll(left * 1000):
                connection, rest = held[descriptor]
                if not _go_on(connection, rest, flags, held, poll, again):
                    poll.unregister(descriptor)
                    del held[descriptor]
                    connection.close()
    for connection, _ in held.values():
        connection.close()


def _go_on(
    connection: socket.socket,
    rest: memoryview,
    flags: int,
    held: dict[int, tuple[socket.socket, memoryview]],
    poll: select.poll,
    again: memoryview,
) -> bool:
    """Send what is left, then `again`, and drop what comes; returns whether the connection is still open."""
    try:
        if flags & (select.POLLERR | select.POLLHUP):
            return False
        if flags & select.POLLIN and not connection.recv(65_536):
            return False
        if flags & select.POLLOUT:
            rest = rest[connection.send(rest) :] or again
            held[connection.fileno()] = connection, rest
            if not rest:
                poll.modify(connection, select.POLLIN)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True


if __name__ == "__main__":
    attack(sys.argv[1], int(sys.argv[2]), sys.argv[3].split(","), float(sys.argv[4]))
