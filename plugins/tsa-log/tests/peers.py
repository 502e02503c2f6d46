"""Servers on a raw socket, which answer whatever a test wants: nothing, too much, or too slowly."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

Answer = Callable[[socket.socket], None]


@contextmanager
def listening(answer: Answer) -> Iterator[str]:
    """A server that reads a request and does what `answer` says, for every connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer, suppress(OSError):
                    read_request(peer)
                    answer(peer)

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/witness"
        finally:
            server.shutdown(socket.SHUT_RDWR)


@contextmanager
def silent_address() -> Iterator[tuple[str, int]]:
    """An address that answers no connection: as many as it takes wait to be accepted."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        place = server.getsockname()
        with suppress(TimeoutError):
            while True:
                stack.enter_context(socket.create_connection(place, timeout=0.2))
        yield place


def read_request(peer: socket.socket) -> None:
    """Read all of it: a socket that is closed with octets unread is reset, and its answer may be lost."""
    if (data := peer.recv(65_536)).startswith(b"\x16"):  # a TLS handshake, which is not answered as one
        return
    while b"\r\n\r\n" not in data and (part := peer.recv(65_536)):
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    found = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    left = int(found[1]) - len(body) if found else 0
    while left > 0 and (part := peer.recv(left)):
        left -= len(part)


def reply(body: bytes, *, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def say_nothing(peer: socket.socket) -> None:
    while peer.recv(65_536):
        pass


def drip(start: bytes) -> Answer:
    """Send an octet, again and again, which a limit on each read never ends."""

    def answer(peer: socket.socket) -> None:
        peer.sendall(start)
        while not peer_closed(peer):
            peer.sendall(b"x")

    return answer


def flood(start: bytes, part: bytes) -> Answer:
    """Send a part again and again, as fast as it is read."""

    def answer(peer: socket.socket) -> None:
        peer.sendall(start)
        while True:
            peer.sendall(part)

    return answer


def peer_closed(peer: socket.socket) -> bool:
    peer.settimeout(0.05)
    try:
        return peer.recv(1) == b""
    except TimeoutError:
        return False
