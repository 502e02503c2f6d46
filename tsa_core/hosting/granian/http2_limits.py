"""What one HTTP/2 connection may have under way: granian limits the streams that are open, and nothing else of them.

A client that cancels a stream may open another at once, but what it asked for is worked on all the same, so the limit
on open streams bounds nothing for who cancels (CVE-2023-44487). And a hundred bodies are more than the one which
HTTP/1.1 allows.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from tsa_core.config import ServerSettings
from tsa_core.hosting.open_files import connection_limit

log = logging.getLogger(__name__)

STREAMS = 100
"""Streams that may be open on a connection; RFC 9113 6.5.2 advises against fewer."""

_MOST_UNDER_WAY = 2 * STREAMS
"""A client that gives up on all that it has asked for, and asks again, is still an honest one."""
_LEAST_OCTETS = 1_048_576
_CROWD = 2_000
"""So many requests under way, of all connections together, are a moment's work, and perhaps nobody waits for them."""
_FEW = 10
_WARNING_PAUSE_SECONDS = 10.0


class TooMuchAtOnce(Exception):
    """A connection has more under way than it may; this request is refused."""


class Share:
    """What one connection has under way."""

    __slots__ = ("client", "ended", "octets", "requests")

    def __init__(self, client: str) -> None:
        self.client = client
        self.requests = 0
        self.octets = 0
        self.ended = False


class StreamShares:
    """The shares of all HTTP/2 connections, by the client's address and port; for one thread, that of the event loop.

    All requests of a connection hold `max_request_body_size` together, a megabyte at least, and all connections as much
    as `connection_limit` of them. `end` is called, once, with the address of a client that has so many requests under
    way that it must have cancelled most of them.
    """

    def __init__(self, settings: ServerSettings, *, end: Callable[[str], object]) -> None:
        self._end = end
        limit = settings.max_request_body_size
        self._most_octets: float = max(limit, _LEAST_OCTETS) if limit else math.inf
        self._most_octets_of_all = self._most_octets * connection_limit(settings)
        self._shares: dict[str, Share] = {}
        self._requests = 0
        self._octets = 0
        self._next_warning = 0.0

    def enter(self, client: str) -> Share:
        """Count one more request of a client; clients of a Unix socket have no address, and one share each time."""
        share = self._shares.get(client)
        if share is None:
            share = Share(client)
            if client:
                self._shares[client] = share
        share.requests += 1
        self._requests += 1
        if share.requests > _MOST_UNDER_WAY and not share.ended:
            share.ended = True
            self._warn(client)
            self._end(client)
        return share

    def admits(self, share: Share) -> bool:
        """Say whether a request that was just counted shall be worked on.

        In a crowd only those of connections that ask for little: requests that were cancelled are in the crowd, too,
        and their connection, which may be gone, has many.
        """
        if self._requests <= _CROWD:
            return not share.ended
        return share.requests <= _FEW and self._requests <= 2 * _CROWD

    def hold(self, share: Share, octets: int) -> None:
        """Count what a request makes the server keep; raises TooMuchAtOnce when that is too much."""
        share.octets += octets
        self._octets += octets
        if share.octets > self._most_octets or self._octets > self._most_octets_of_all or share.ended:
            raise TooMuchAtOnce

    def leave(self, share: Share, octets: int) -> None:
        """Count a request no more that held so many octets."""
        self._requests -= 1
        self._octets -= octets
        share.requests -= 1
        share.octets -= octets
        if not share.requests and share.client:
            del self._shares[share.client]

    def _warn(self, client: str) -> None:
        now = time.monotonic()
        if now >= self._next_warning:
            self._next_warning = now + _WARNING_PAUSE_SECONDS
            log.warning("%s cancels requests faster than they are answered; its HTTP/2 connection is closed", client)
