"""Limits on the requests of one HTTP/2 connection. granian limits the open streams only.

A client that cancels a stream may open another at once, but the server still works on the cancelled request. So a limit
on open streams does not limit such a client (CVE-2023-44487). And the bodies of a hundred streams need more memory than
the one body that an HTTP/1.1 connection can have.
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

_MAX_REQUESTS = 2 * STREAMS
"""An honest client may cancel all of its requests once and send them again."""
_MIN_OCTETS = 1_048_576
_OVERLOAD = 2_000
"""The server is overloaded when so many requests, of all connections, are in progress."""
_MAX_REQUESTS_IN_OVERLOAD = 10
_WARNING_PAUSE_SECONDS = 10.0


class LimitExceeded(Exception):
    """A connection exceeds its limits; this request is refused."""


class ConnectionLoad:
    """The requests in progress of one connection, and the octets that they hold."""

    __slots__ = ("client", "ended", "octets", "requests")

    def __init__(self, client: str) -> None:
        self.client = client
        self.requests = 0
        self.octets = 0
        self.ended = False


class Http2Limits:
    """Counts requests and octets of all HTTP/2 connections, by the client's address and port.

    For one thread, that of the event loop. The requests of a connection may hold `max_request_body_size` octets in
    total, or a megabyte if that is more; those of all connections `connection_limit` times as many. `end` is called
    once with the address of a client that has more requests in progress than it could without cancelling.
    """

    def __init__(self, settings: ServerSettings, *, end: Callable[[str], object]) -> None:
        self._end = end
        limit = settings.max_request_body_size
        self._max_octets: float = max(limit, _MIN_OCTETS) if limit else math.inf
        self._max_total_octets = self._max_octets * connection_limit(settings)
        self._connections: dict[str, ConnectionLoad] = {}
        self._requests = 0
        self._octets = 0
        self._next_warning = 0.0

    def add(self, client: str) -> ConnectionLoad:
        """Count one more request of a client. Without an address, as on a Unix socket, each request counts alone."""
        load = self._connections.get(client)
        if load is None:
            load = ConnectionLoad(client)
            if client:
                self._connections[client] = load
        load.requests += 1
        self._requests += 1
        if load.requests > _MAX_REQUESTS and not load.ended:
            load.ended = True
            self._warn(client)
            self._end(client)
        return load

    def admits(self, load: ConnectionLoad) -> bool:
        """Say whether a request that was just counted is accepted.

        In an overload only connections with few requests are served: most of the other requests may be cancelled ones,
        of connections that may be closed.
        """
        if self._requests <= _OVERLOAD:
            return not load.ended
        return load.requests <= _MAX_REQUESTS_IN_OVERLOAD and self._requests <= 2 * _OVERLOAD

    def reserve(self, load: ConnectionLoad, octets: int) -> None:
        """Count octets that the server must keep for a request; raises LimitExceeded above a limit."""
        load.octets += octets
        self._octets += octets
        if load.octets > self._max_octets or self._octets > self._max_total_octets or load.ended:
            raise LimitExceeded

    def remove(self, load: ConnectionLoad, octets: int) -> None:
        """Count a request that has ended no more, nor the octets that it held."""
        self._requests -= 1
        self._octets -= octets
        load.requests -= 1
        load.octets -= octets
        if not load.requests and load.client:
            del self._connections[load.client]

    def _warn(self, client: str) -> None:
        now = time.monotonic()
        if now >= self._next_warning:
            self._next_warning = now + _WARNING_PAUSE_SECONDS
            log.warning("%s cancels requests faster than they are answered; its HTTP/2 connection is closed", client)
