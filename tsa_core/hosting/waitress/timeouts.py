"""Timeouts for waitress's connections.

waitress closes idle connections. It has no timeout for a request that arrives slowly, for a reply that the client does
not read, or for a handshake of TLS.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from tsa_core.config import ServerSettings

_SWEEP_SECONDS = 5.0
_MIN_SWEEP_SECONDS = 0.2


class ConnectionTimeouts:
    """Closes waitress's channels that are slow.

    For the I/O thread. It looks at the connections periodically, so it adds nothing to the cost of a request.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._read_seconds = settings.read_timeout.total_seconds()
        self._write_seconds = settings.write_timeout.total_seconds()
        self._reading: dict[Any, tuple[Any, float]] = {}
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
            if channel.handshaking and self._read_seconds and wall - channel.creation_time >= self._read_seconds:
                channel.handle_close()
                continue
            # While an earlier request is being answered waitress does not read, so the client is not slow.
            if self._read_seconds and request is not None and not channel.requests:
                seen = self._reading.get(channel)
                if seen is None or seen[0] is not request:
                    seen = (request, now)
                reading[channel] = seen
                if now - seen[1] >= self._read_seconds:
                    channel.handle_close()
                    continue
            if (channel.lingers_until is not None and now >= channel.lingers_until) or (
                self._write_seconds and channel.total_outbufs_len and wall - channel.last_activity > self._write_seconds
            ):
                channel.handle_close()
        self._reading = reading
