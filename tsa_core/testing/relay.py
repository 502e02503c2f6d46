"""Stands between a plugin and its backend, and lets that fall silent or talk nonsense."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

_OCTETS = 65_536
_PAGE = b"<html><title>Please log in</title></html>\n"
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
NONSENSE = _HEAD % len(_PAGE) + _PAGE
"""What a captive portal or a proxy answers in a backend's place."""


class Relay:
    """Passes on what comes to `port` of 127.0.0.1 to a backend there, `to`, and its answers; a context manager.

    After `hush` it takes everything and answers nothing, also on connections that are open. After `babble` it answers
    whatever comes with the same octets, and closes the connection.
    """

    def __init__(self, to: int) -> None:
        self._to = to
        self._silent = False
        self._nonsense: bytes | None = None
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, name="relay", daemon=True).start()

    def hush(self) -> None:
        """Answer nothing from now on."""
        self._silent = True

    def babble(self, octets: bytes = NONSENSE) -> None:
        """Answer whatever comes with these octets from now on."""
        self._nonsense = octets

    def close(self) -> None:
        """Close everything."""
        # A thread that waits in accept() notices a shutdown, not a close.
        for each in [self._listener, *self._open]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                backend = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                return
            self._open += [client, backend]
            for source, target, answers in ((client, backend, False), (backend, client, True)):
                threading.Thread(target=self._pass_on, args=(source, target, answers), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while data := source.recv(_OCTETS):
                if self._silent:
                    continue
                if self._nonsense is None:
                    target.sendall(data)
                elif not answers:
                    source.sendall(self._nonsense)
                    source.shutdown(socket.SHUT_RDWR)
        if not self._silent:
            with suppress(OSError):
                target.shutdown(socket.SHUT_WR)
