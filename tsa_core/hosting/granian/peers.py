"""What granian's clients are doing, noted by the application for who watches their connections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

Client: TypeAlias = tuple[str, str]
"""Address and port."""


class Peers:
    """Written in the event loop, and read in another thread.

    Clients over `tls` are also noted when they ask: the kernel takes a handshake for an exchange.
    """

    def __init__(self, *, tls: bool = False) -> None:
        self.tls = tls
        self._answered: Counter[Client] = Counter()
        self._http2: set[Client] = set()
        self._asked: set[Client] = set()
        self._absent: set[Client] = set()

    @contextmanager
    def answering(self, address: str, port: str) -> Iterator[None]:
        """Note that a thread answers a request of a client while the block lasts."""
        client = address, port
        self._answered[client] += 1
        try:
            yield
        finally:
            self._answered[client] -= 1
            if not self._answered[client]:
                del self._answered[client]

    def note_request(self, address: str, port: str) -> None:
        """Note that the head of a client's request has come."""
        self._asked.add((address, port))

    def has_asked(self, client: Client) -> bool:
        """Say whether the head of a request of this client has come; without TLS nobody knows, and it may have."""
        return not self.tls or client in self._asked

    def note_http2(self, address: str, port: str) -> None:
        """Note that a client has made a request with HTTP/2."""
        self._http2.add((address, port))

    def is_answered(self, client: Client) -> bool:
        """Say whether a thread answers a request of this client now."""
        return client in self._answered

    def speaks_http2(self, client: Client) -> bool:
        """Say whether this client has made a request with HTTP/2."""
        return client in self._http2

    def forget_all_but(self, clients: set[Client]) -> None:
        """Forget clients whose connection is gone. One that has just come is noted again at its next request."""
        self._http2 &= clients
        absent = self._asked - clients
        # One that came during the look was in no list of it yet.
        self._asked.difference_update(absent & self._absent)
        self._absent = absent
