"""A WSGI application's reply, for servers that send it in one call."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from tsa_core.http.batching import DEFERRED
from tsa_core.http.thread_pools import LeaveIoThread
from tsa_core.http.wsgi_types import WsgiApplication

log = logging.getLogger(__name__)


class WsgiReply:
    """Status, headers and the whole body, as an application gives them (PEP 3333)."""

    __slots__ = ("body", "failed", "headers", "leaves_for", "status")

    def __init__(self) -> None:
        self.failed = False
        """Whether there is no reply, because the application failed."""
        self.leaves_for: str | None = None
        """The pool whose threads have to run the request, because it would wait here."""
        self.status = 500
        self.headers: list[tuple[str, str]] = []
        self.body = b""

    def run(self, app: WsgiApplication, environ: dict[str, Any]) -> bool:
        """Do what `collect` does; a failure of the application is logged, and noted in `failed`."""
        try:
            return self.collect(app, environ)
        except LeaveIoThread as leaving:
            self.leaves_for = leaving.pool
            return True
        except BaseException:
            log.exception("%s %s failed", environ["REQUEST_METHOD"], environ["PATH_INFO"])
            self.failed = True
            return True

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
