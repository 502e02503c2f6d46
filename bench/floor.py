"""The floor for a server in Python: a loop around the same token code, in batches, without HTTP worth the name.

    python -m bench.floor PORT

A turn reads all that has arrived, begins all requests, finishes them in one batch and sends all replies; a connection
is read when it has been accepted. It takes what arrives for one whole request, and knows no limits, log or odd clients.
Whatever a real server costs beyond it is HTTP and protection. It is for measuring and nothing else.
"""

from __future__ import annotations

import select
import socket
import sys
from contextlib import suppress

from tsa_core.api import RequestContext
from tsa_core.authority import PendingRequest
from tsa_core.config import load_settings
from tsa_core.service import Service

_PING = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n."
_READ_OCTETS = 65_536
_LARGEST_BATCH = 32


class _Loop:
    def __init__(self, port: int, service: Service) -> None:
        self._authority = service.authority
        self._context = RequestContext()
        self._listening = socket.create_server(("127.0.0.1", port), backlog=1024)
        self._listening.setblocking(False)
        self._listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._poll = select.epoll()
        self._poll.register(self._listening, select.EPOLLIN)
        self._kept: dict[int, socket.socket] = {}
        self._begun: list[tuple[socket.socket, bool, PendingRequest]] = []

    def run(self) -> None:
        while True:
            for descriptor, _ in self._poll.poll():
                connection = self._kept.get(descriptor)
                if connection is None:
                    self._accept()
                else:
                    self._read(connection)
                if len(self._begun) >= _LARGEST_BATCH:
                    self._finish()
            self._finish()

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            while True:
                connection, _ = self._listening.accept()
                connection.setblocking(False)
                self._read(connection)
                if len(self._begun) >= _LARGEST_BATCH:
                    self._finish()

    def _read(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(_READ_OCTETS)
        except BlockingIOError:
            self._keep(connection)
            return
        except OSError:
            data = b""
        head, _, body = data.partition(b"\r\n\r\n")
        if not data:
            self._close(connection)
        elif data.startswith(b"GET"):
            connection.send(_PING)
            self._keep(connection)
        else:
            last = b"Connection: close" in head
            self._begun.append((connection, last, self._authority.admit(body, self._context)))

    def _finish(self) -> None:
        begun, self._begun = self._begun, []
        if begun:
            self._authority.respond_batch([pending for _, _, pending in begun])
        for connection, last, pending in begun:
            der = pending.answered.der
            closes = b"Connection: close\r\n" if last else b""
            reply = b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n" % (closes, len(der)) + der
            try:
                connection.send(reply)
            except OSError:
                self._close(connection)
                continue
            if last:
                self._close(connection)
            else:
                self._keep(connection)

    def _keep(self, connection: socket.socket) -> None:
        if connection.fileno() not in self._kept:
            self._kept[connection.fileno()] = connection
            self._poll.register(connection, select.EPOLLIN)

    def _close(self, connection: socket.socket) -> None:
        self._kept.pop(connection.fileno(), None)
        connection.close()


def main() -> None:
    """Serve on 127.0.0.1 until the process is stopped."""
    with Service(load_settings()) as service:
        _Loop(int(sys.argv[1]), service).run()


if __name__ == "__main__":
    main()
