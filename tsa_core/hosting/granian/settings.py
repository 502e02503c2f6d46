"""granian's settings, made from ours. Imported only where granian listens."""

from __future__ import annotations

from typing import Any

from granian.constants import HTTPModes
from granian.http import HTTP1Settings, HTTP2Settings

from tsa_core.config import ServerSettings
from tsa_core.hosting.granian.http2_limits import STREAMS

KEEP_LOGGING: dict[str, Any] = {"incremental": True, "handlers": {}, "formatters": {}, "loggers": {}}
"""Without `incremental` granian closes the log handlers of the whole process."""

_MIN_BUFFER_OCTETS = 8192
_STREAM_WINDOW_OCTETS = 65_535
_CONNECTION_WINDOW_OCTETS = 262_144
_FRAME_OCTETS = 16_384
_SEND_BUFFER_OCTETS = 65_536


def http_options(settings: ServerSettings) -> dict[str, Any]:
    """Return granian's options for the versions of HTTP, and the limits of a connection for each version."""
    return {
        "http": HTTPModes.auto if settings.http2 else HTTPModes.http1,
        "http1_settings": http1_settings(settings),
        "http2_settings": http2_settings(settings),
    }


def http1_settings(settings: ServerSettings) -> HTTP1Settings:
    """Return the limits of a connection: the size of a head, and the time until a head is complete.

    The time includes that in which a kept connection is idle, so it is `idle_timeout`. A client that sends its head
    slowly uses no more resources than an idle connection.
    """
    return HTTP1Settings(
        header_read_timeout=max(1000, int(settings.idle_timeout.total_seconds() * 1000)),
        max_buffer_size=max(_MIN_BUFFER_OCTETS, settings.max_header_size),
    )


def http2_settings(settings: ServerSettings) -> HTTP2Settings:
    """Return the limits of an HTTP/2 connection: streams, heads, and what waits in buffers.

    A timestamp request needs about a kilobyte, so the windows have the protocol's default size, not granian's default
    of a megabyte. No PING is sent: a client that answers it would never be idle, and TCP keep-alive finds clients that
    have vanished.
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
