"""POST over HTTP with one limit over all of it: connect, handshake, head and body."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from contextlib import suppress
from time import monotonic
from typing import Final
from urllib.parse import urlsplit

_PORTS: Final = {"http": 80, "https": 443}


class BoundedConnection:
    """A connection to one http or https URL, kept open between requests.

    A limit on each read would not do: a peer that sends an octet a second never breaks it. A timer shuts the socket
    down, by a descriptor of its own, so that a handshake ends too.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._scheme = parts.scheme
        self._host = parts.hostname or ""
        self._port = parts.port or _PORTS[parts.scheme]
        self._path = parts.path
        self._connection: http.client.HTTPConnection | None = None
        self._handle: socket.socket | None = None

    def post(self, path: str, body: bytes, *, seconds: float, limit: int) -> tuple[int, bytes]:
        """Return the status and at most `limit` + 1 octets of the answer; raises OSError or HTTPException.

        A connection that the peer has closed meanwhile is opened again.
        """
        deadline = monotonic() + seconds
        if self._connection is not None:
            with suppress(OSError, http.client.HTTPException):
                return self._exchange(path, body, deadline, limit)
            self.close()
        try:
            return self._exchange(path, body, deadline, limit)
        except BaseException:
            self.close()
            raise

    def _exchange(self, path: str, body: bytes, deadline: float, limit: int) -> tuple[int, bytes]:
        over = threading.Event()
        timer = threading.Timer(max(deadline - monotonic(), 0.001), self._end, (over,))
        timer.daemon = True
        timer.start()
        try:
            connection = self._connection or self._connect(deadline)
            headers = {"Content-Type": "text/plain; charset=utf-8"}
            connection.request("POST", f"{self._path}/{path}", body, headers)
            reply = connection.getresponse()
            data = reply.read(limit + 1)
            if reply.will_close or len(data) > limit:
                self.close()
        except (OSError, http.client.HTTPException) as error:
            if over.is_set() or isinstance(error, TimeoutError):
                raise TimeoutError("no answer in time") from None
            raise
        finally:
            timer.cancel()
        if over.is_set():  # what was read may have been cut off
            raise TimeoutError("no answer in time")
        return reply.status, data

    def _connect(self, deadline: float) -> http.client.HTTPConnection:
        seconds = max(deadline - monotonic(), 0.001)
        connected = socket.create_connection((self._host, self._port), seconds)
        self._handle = connected.dup()
        if self._scheme == "https":
            connected = ssl.create_default_context().wrap_socket(connected, server_hostname=self._host)
        self._connection = http.client.HTTPConnection(self._host, self._port, timeout=seconds)
        self._connection.sock = connected
        return self._connection

    def _end(self, over: threading.Event) -> None:
        over.set()
        if (handle := self._handle) is not None:
            with suppress(OSError):
                handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        if self._connection is not None:
            self._connection.close()
        if self._handle is not None:
            self._handle.close()
        self._connection = self._handle = None
