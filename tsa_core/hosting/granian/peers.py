"""What granian's clients are doing, noted by the application for who watches their connections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

Client: TypeAlias = tuple[str, str]
"""Address and port."""


class Peers:
    """Written in the event loop, and read in another thread."""

    def __init__(self) -> None:
        self._answered: Counter[Client] = Counter()
        self._http2: set[Client] = set()

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
