"""Timeouts for waitress's connections, and room for new ones near the connection limit.

waitress closes idle connections. It has no timeout for a request that arrives slowly, or for a reply that the client
does not read. At its connection limit it waits until connections end by themselves, so clients that hold connections
open keep all others out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from tsa_core.config import ServerSettings
from tsa_core.hosting.open_files import connection_limit

log = logging.getLogger(__name__)

_SWEEP_SECONDS = 5.0
_MIN_SWEEP_SECONDS = 0.2
_ROOM_PAUSE_SECONDS = 0.25
_MIN_IDLE_SECONDS = 1.0
"""A connection that has been idle for less may be about to send a request."""
_WARNING_PAUSE_SECONDS = 10.0


class ConnectionTimeouts:
    """Closes waitress's channels: slow ones, and near the connection limit those that have been idle longest.

    For the I/O thread. It looks at the connections periodically, so it adds nothing to the cost of a request.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._read_seconds = settings.read_timeout.total_seconds()
        self._write_seconds = settings.write_timeout.total_seconds()
        self._limit = connection_limit(settings)
        self._margin = max(1, self._limit // 20)
        self._reading: dict[Any, tuple[Any, float]] = {}
        self._next_room = 0.0
        self._next_warning = 0.0
        limits = [seconds / 4 for seconds in (self._read_seconds, self._write_seconds) if seconds]
        self.sweep_seconds = max(_MIN_SWEEP_SECONDS, min([_SWEEP_SECONDS, *limits]))
        """How often `sweep` should be called."""

    def sweep(self, channels: Sequence[Any]) -> None:
        """Close the connections whose request arrives, or whose reply leaves, too slowly."""
        now = time.monotonic()
        wall = time.time()  # waitress notes activity by this clock
        reading: dict[Any, tuple[Any, float]] = {}
        for channel in channels:
            request = channel.request
            # While an earlier request is being answered waitress does not read, so the client is not slow.
            if self._read_seconds and request is not None and not channel.requests:
                seen = self._reading.get(channel)
                if seen is None or seen[0] is not request:
                    seen = (request, now)
                reading[channel] = seen
                if now - seen[1] >= self._read_seconds:
                    channel.handle_close()
                    continue
            if self._write_seconds and channel.total_outbufs_len and wall - channel.last_activity > self._write_seconds:
                channel.handle_close()
        self._reading = reading

    def nearly_full(self, connections: int) -> bool:
        """Say whether it is time for `make_room`."""
        return connections >= self._limit - self._margin and time.monotonic() >= self._next_room

    def make_room(self, connections: int, channels: Sequence[Any]) -> None:
        """Close the connections that have been idle longest."""
        now = time.monotonic()
        self._next_room = now + _ROOM_PAUSE_SECONDS
        before = time.time() - _MIN_IDLE_SECONDS
        idle = [
            channel
            for channel in channels
            if channel.last_activity < before
            and channel.request is None
            and not channel.requests
            and not channel.total_outbufs_len
        ]
        idle.sort(key=lambda channel: channel.last_activity)
        excess = connections - (self._limit - 2 * self._margin)
        for channel in idle[:excess]:
            channel.handle_close()
        if now >= self._next_warning:
            self._next_warning = now + _WARNING_PAUSE_SECONDS
            log.warning(
                "%d of %d connections are in use; those idle longest are closed to make room ([server] "
                "connection_limit)",
                connections,
                self._limit,
            )
