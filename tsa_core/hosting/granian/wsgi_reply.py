"""A WSGI application's reply, for servers that send it in one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tsa_core.http.batching import DEFERRED
from tsa_core.http.wsgi_types import WsgiApplication


class WsgiReply:
    """Status, headers and the whole body, as an application gives them (PEP 3333)."""

    __slots__ = ("body", "headers", "status")

    def __init__(self) -> None:
        self.status = 500
        self.headers: list[tuple[str, str]] = []
        self.body = b""

    def collect(self, app: WsgiApplication, environ: dict[str, Any]) -> bool:
        """Call the application; returns whether the reply is complete. It is not when the request went into a batch."""
        parts = app(environ, self.start)
        if parts is DEFERRED:
            return False
        try:
            self.body += b"".join(parts)
        finally:
            if close := getattr(parts, "close", None):
                close()
        return True

    def start(self, status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Callable[[bytes], None]:
        """Take status and headers; returns the `write` callable (PEP 3333)."""
        self.status = int(status[:3])
        self.headers = headers
        return self._write

    def _write(self, data: bytes) -> None:
        self.body += data
