"""Stands between psycopg and PostgreSQL, and breaks the connection when COMMIT was sent."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class CommitRelay:
    """Passes everything on, until `armed`: the next COMMIT reaches the server, and its answer nobody.

    With `before`, COMMIT does not reach the server either.
    """

    def __init__(self, to: int, *, before: bool) -> None:
        self._to = to
        self._before = before
        self.armed = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="commit-relay", daemon=True).start()

    def close(self) -> None:
        """Accept no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                return
            for source, target, asks in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass_on, args=(source, target, asks), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, asks: bool) -> None:
        with suppress(OSError), source, target:
            while data := source.recv(65_536):
                if asks and self.armed and b"COMMIT" in data:
                    self.armed = False
                    if not self._before:
                        with suppress(OSError):
                            source.shutdown(socket.SHUT_RDWR)  # nobody hears the answer
                        target.sendall(data)
                        while target.recv(65_536):  # until the server has ended, which it does when it is done
                            target.shutdown(socket.SHUT_WR)
                    break
                target.sendall(data)
            for each in (source, target):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
