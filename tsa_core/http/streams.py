"""What one HTTP/2 connection may have under way: granian limits the streams that are open, and nothing else of them.

A client that cancels a stream may open another at once, but what it asked for is worked on all the same, so the limit
on open streams bounds nothing for who cancels (CVE-2023-44487). And a hundred bodies are more than the one which
HTTP/1.1 allows.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from tsa_core.config import ServerSettings

log = logging.getLogger(__name__)

STREAMS = 100
"""Streams that may be open on a connection; RFC 9113 6.5.2 advises against fewer."""

_MOST_UNDER_WAY = 2 * STREAMS
"""A client that gives up on all that it has asked for, and asks again, is still an honest one."""
_LEAST_OCTETS = 1_048_576
_WARNING_PAUSE_SECONDS = 10.0


class TooMuchAtOnce(Exception):
    """A connection has more under way than it may; this request is refused."""


class Share:
    """What one connection has under way; count it in one thread only, that of the event loop."""

    __slots__ = ("_most_octets", "ended", "octets", "requests")

    def __init__(self, most_octets: int) -> None:
        self._most_octets = most_octets
        self.requests = 0
        self.octets = 0
        self.ended = False

    def hold(self, octets: int) -> None:
        """Count what a request makes the server keep; raises TooMuchAtOnce when the connection holds too much."""
        self.octets += octets
        if self.ended or (self._most_octets and self.octets > self._most_octets):
            raise TooMuchAtOnce


class StreamShares:
    """The shares of all HTTP/2 connections, by the client's address and port.

    All requests of a connection hold `max_request_body_size` together, a megabyte at least. `end` is called, once,
    with the address of a client that has so many requests under way that it must have cancelled most of them.
    """

    def __init__(self, settings: ServerSettings, *, end: Callable[[str], object]) -> None:
        self._end = end
        limit = settings.max_request_body_size
        self._most_octets = max(limit, _LEAST_OCTETS) if limit else 0
        self._shares: dict[str, Share] = {}
        self._next_warning = 0.0

    def enter(self, client: str) -> Share:
        """Count one more request of a client."""
        share = self._shares.get(client)
        if share is None:
            share = self._shares[client] = Share(self._most_octets)
        share.requests += 1
        # Clients of a Unix socket have no address, and are proxies that the operator has put there.
        if share.requests > _MOST_UNDER_WAY and not share.ended and ":" in client:
            share.ended = True
            self._warn(client)
            self._end(client)
        return share

    def leave(self, client: str, share: Share, octets: int) -> None:
        """Count a request no more that held so many octets."""
        share.requests -= 1
        share.octets -= octets
        if not share.requests:
            del self._shares[client]

    def _warn(self, client: str) -> None:
        now = time.monotonic()
        if now >= self._next_warning:
            self._next_warning = now + _WARNING_PAUSE_SECONDS
            log.warning("%s cancels requests faster than they are answered; its HTTP/2 connection is closed", client)
