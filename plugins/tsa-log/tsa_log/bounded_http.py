"""HTTP with one limit over all of an exchange: connect, handshake, head and body."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from tsa_core.api import retry_after

_PORTS: Final = {"http": 80, "https": 443}
_TEXT: Final = "text/plain; charset=utf-8"


class Answer(NamedTuple):
    """What came back: `body` has at most one octet more than was allowed, `retry_after` is in seconds."""

    status: int
    body: bytes
    retry_after: float | None = None


class _Request(NamedTuple):
    method: str
    path: str
    body: bytes | None
    headers: Mapping[str, str]
    limit: int


class BoundedConnection:
    """A connection to one http or https URL, kept open between requests; for one thread at a time.

    A limit on each read would not do: a peer that sends an octet a second never breaks it. A timer shuts the socket
    down, by a descriptor of its own, so that a handshake ends too. `headers` go with every request.
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        parts = urlsplit(url)
        self._scheme = parts.scheme
        self._host = parts.hostname or ""
        self._port = parts.port or _PORTS[parts.scheme]
        self._path = parts.path.rstrip("/")
        self._headers = dict(headers or {})
        self._connection: http.client.HTTPConnection | None = None
        self._handle: socket.socket | None = None

    def get(self, path: str, *, seconds: float, limit: int) -> Answer:
        """Return the answer, with at most `limit` + 1 octets; raises OSError or HTTPException."""
        return self._send(_Request("GET", path, None, {}, limit), seconds)

    def post(self, path: str, body: bytes, *, seconds: float, limit: int, kind: str = _TEXT) -> Answer:
        """Return the answer, with at most `limit` + 1 octets; raises OSError or HTTPException. `kind`: Content-Type."""
        return self._send(_Request("POST", path, body, {"Content-Type": kind}, limit), seconds)

    def _send(self, request: _Request, seconds: float) -> Answer:
        """Exchange; a connection that the peer has closed meanwhile is opened again."""
        deadline = monotonic() + seconds
        if self._connection is not None:
            with suppress(OSError, http.client.HTTPException):
                return self._exchange(request, deadline)
            self.close()
        try:
            return self._exchange(request, deadline)
        except BaseException:
            self.close()
            raise

    def _exchange(self, request: _Request, deadline: float) -> Answer:
        over = threading.Event()
        timer = threading.Timer(max(deadline - monotonic(), 0.001), self._end, (over,))
        timer.daemon = True
        timer.start()
        try:
            connection = self._connection or self._connect(deadline)
            headers = {**self._headers, **request.headers}
            connection.request(request.method, f"{self._path}/{request.path}", request.body, headers)
            reply = connection.getresponse()
            data = reply.read(request.limit + 1)
            if reply.will_close or len(data) > request.limit:
                self.close()
        except (OSError, http.client.HTTPException) as error:
            if over.is_set() or isinstance(error, TimeoutError):
                raise TimeoutError("no answer in time") from None
            raise
        finally:
            timer.cancel()
        if over.is_set():  # what was read may have been cut off
            raise TimeoutError("no answer in time")
        return Answer(reply.status, data, retry_after(reply.headers.get("Retry-After")))

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


def why_it_failed(error: OSError | http.client.HTTPException) -> str:
    """Return what went wrong with an exchange, for messages: printable, and not empty."""
    reason = error.strerror if isinstance(error, OSError) else None
    return printable((reason or str(error) or type(error).__name__).encode())


def printable(text: bytes) -> str:
    """Return the beginning of what a peer sent, for messages: printable, at most 200 characters."""
    return "".join(c if c.isprintable() else "." for c in text[:200].decode("ascii", "replace"))
