"""Settings in granian's words. Imported only where granian is installed."""

from __future__ import annotations

from typing import Any

from granian.http import HTTP1Settings

from tsa_core.config import ServerSettings

KEEP_LOGGING: dict[str, Any] = {"incremental": True, "handlers": {}, "formatters": {}, "loggers": {}}
"""Without `incremental` granian closes the log handlers of the whole process."""

_LEAST_BUFFER_OCTETS = 8192


def http1_settings(settings: ServerSettings) -> HTTP1Settings:
    """Return the limits of a connection: the size of a head, and the time until a head is complete.

    The time includes that in which a kept connection is idle, so it is `idle_timeout`; a head that trickles in holds
    no more than a connection that is idle.
    """
    return HTTP1Settings(
        header_read_timeout=max(1000, int(settings.idle_timeout.total_seconds() * 1000)),
        max_buffer_size=max(_LEAST_BUFFER_OCTETS, settings.max_header_size),
    )
