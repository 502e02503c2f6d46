"""Settings in granian's words. Imported only where granian is installed."""

from __future__ import annotations

from typing import Any

from granian.constants import HTTPModes
from granian.http import HTTP1Settings, HTTP2Settings

from tsa_core.config import ServerSettings
from tsa_core.hosting.granian.http2_limits import STREAMS

KEEP_LOGGING: dict[str, Any] = {"incremental": True, "handlers": {}, "formatters": {}, "loggers": {}}
"""Without `incremental` granian closes the log handlers of the whole process."""

_LEAST_BUFFER_OCTETS = 8192
_STREAM_WINDOW_OCTETS = 65_535
_CONNECTION_WINDOW_OCTETS = 262_144
_FRAME_OCTETS = 16_384
_SEND_BUFFER_OCTETS = 65_536


def http_options(settings: ServerSettings) -> dict[str, Any]:
    """Return which versions of HTTP granian speaks, and the limits of a connection in each."""
    return {
        "http": HTTPModes.auto if settings.http2 else HTTPModes.http1,
        "http1_settings": http1_settings(settings),
        "http2_settings": http2_settings(settings),
    }


def http1_settings(settings: ServerSettings) -> HTTP1Settings:
    """Return the limits of a connection: the size of a head, and the time until a head is complete.

    The time includes that in which a kept connection is idle, so it is `idle_timeout`; a head that trickles in holds
    no more than a connection that is idle.
    """
    return HTTP1Settings(
        header_read_timeout=max(1000, int(settings.idle_timeout.total_seconds() * 1000)),
        max_buffer_size=max(_LEAST_BUFFER_OCTETS, settings.max_header_size),
    )


def http2_settings(settings: ServerSettings) -> HTTP2Settings:
    """Return the limits of an HTTP/2 connection: streams, heads, and what waits in buffers.

    Timestamp requests need about a kilobyte, so the windows are those of the protocol, not the megabyte that granian
    takes. No PING: a client that answers it would never be idle, and TCP's keep-alive finds those that are gone.
    """
    return HTTP2Settings(
        max_concurrent_streams=STREAMS,
        max_headers_size=settings.max_header_size,
        initial_stream_window_size=_STREAM_WINDOW_OCTETS,
        initial_connection_window_size=_CONNECTION_WINDOW_OCTETS,
        max_frame_size=_FRAME_OCTETS,
        max_send_buffer_size=_SEND_BUFFER_OCTETS,
        keep_alive_interval=None,
    )
