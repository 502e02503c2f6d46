"""HTTP with one limit over all of an exchange, or of many at once: connect, handshake, head and body."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from time import monotonic
from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit

from tsa_core.api import retry_after

_PORTS: Final = {"http": 80, "https": 443}
_MAX_HEAD_OCTETS: Final = 1 << 16
_TEXT: Final = "text/plain; charset=utf-8"


@cache
def _tls() -> ssl.SSLContext:
    """Return the system's authorities, which are read once: within an exchange that takes a part of its time."""
    return ssl.create_default_context()


class Answer(NamedTuple):
    """What came back: `body` has at most one octet more than was allowed, `retry_after` is in seconds."""

    status: int
    body: bytes
    retry_after: float | None = None


class Limit:
    """The moment, `seconds` from now, at which the exchanges that it guards end, in whatever threads they are.

    A limit on each read would not do: a peer that sends an octet a second never breaks it. One timer shuts the sockets
    down. Use it in a `with` statement.
    """

    def __init__(self, seconds: float) -> None:
        self.deadline = monotonic() + seconds
        self.over = False
        self._lock = threading.Lock()
        self._guarded: set[BoundedConnection] = set()
        self._timer = threading.Timer(max(seconds, 0.001), self._end)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    @property
    def left(self) -> float:
        """The seconds that are left, and a little when none are: no time at all would mean no limit to a socket."""
        return max(self.deadline - monotonic(), 0.001)

    @contextmanager
    def guarding(self, connection: BoundedConnection) -> Iterator[None]:
        """Shut a connection down when it is over; raises TimeoutError when that was before the block ended."""
        with self._lock:
            self._guarded.add(connection)
        try:
            if self.over:
                raise TimeoutError
            yield
        except (OSError, http.client.HTTPException) as error:
            if not self.over and not isinstance(error, TimeoutError):
                raise
            raise TimeoutError("no answer in time") from None
        finally:
            with self._lock:
                self._guarded.discard(connection)
        if self.over:  # what was read may have been cut off
            raise TimeoutError("no answer in time")

    def _end(self) -> None:
        with self._lock:
            self.over = True
            for connection in self._guarded:
                connection.shut()


class _Head:
    """The beginning of an answer: http.client alone takes 100 lines of 64 KiB, and 50 MB of memory to parse them."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream = stream
        self._left = _MAX_HEAD_OCTETS

    def readline(self, most: int) -> bytes:
        line = self._stream.readline(min(most, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise http.client.HTTPException(f"the head of its answer is longer than {_MAX_HEAD_OCTETS} octets")
        return line

    def close(self) -> None:
        self._stream.close()


class _Response(http.client.HTTPResponse):
    """An answer whose head is bounded, with all that say `100 Continue` before it."""

    def begin(self) -> None:
        stream = self.fp
        self.fp = _Head(stream)  # type: ignore[assignment] # all that `begin` uses
        try:
            super().begin()
        finally:
            if self.fp is not None:  # else it was closed
                self.fp = stream


class _Request(NamedTuple):
    method: str
    path: str
    body: bytes | None
    headers: Mapping[str, str]
    most: int


class BoundedConnection:
    """A connection to one http or https URL, kept open between requests; for one thread at a time.

    A descriptor of its own lets a limit shut the socket down during a handshake too. `headers` go with every request.
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        parts = urlsplit(url)
        self._scheme = parts.scheme
        self._host = parts.hostname or ""
        self._port = parts.port or _PORTS[parts.scheme]
        self._path = parts.path.rstrip("/")
        self._headers = dict(headers or {})
        if self._scheme == "https":
            _tls()
        self._connection: http.client.HTTPConnection | None = None
        self._handle: socket.socket | None = None

    def get(self, path: str, limit: Limit, *, most: int) -> Answer:
        """Return the answer, with at most `most` + 1 octets; raises OSError or HTTPException."""
        return self._send(_Request("GET", path, None, {}, most), limit)

    def post(self, path: str, body: bytes, limit: Limit, *, most: int, kind: str = _TEXT) -> Answer:
        """Return the answer, with at most `most` + 1 octets; raises OSError or HTTPException. `kind`: Content-Type."""
        return self._send(_Request("POST", path, body, {"Content-Type": kind}, most), limit)

    def _send(self, request: _Request, limit: Limit) -> Answer:
        """Exchange; a connection that the peer has closed meanwhile is opened again."""
        if self._connection is not None:
            with suppress(OSError, http.client.HTTPException):
                return self._exchange(request, limit)
            self.close()
        try:
            return self._exchange(request, limit)
        except BaseException:
            self.close()
            raise

    def _exchange(self, request: _Request, limit: Limit) -> Answer:
        with limit.guarding(self):
            connection = self._connection or self._connect(limit)
            headers = {**self._headers, **request.headers}
            connection.request(request.method, f"{self._path}/{request.path}", request.body, headers)
            reply = connection.getresponse()
            data = reply.read(request.most + 1)
            if reply.will_close or len(data) > request.most:
                self.close()
        return Answer(reply.status, data, retry_after(reply.headers.get("Retry-After")))

    def _connect(self, limit: Limit) -> http.client.HTTPConnection:
        connected = self._reach(limit)
        seconds = limit.left
        connected.settimeout(seconds)
        self._handle = connected.dup()
        if self._scheme == "https":
            connected = _tls().wrap_socket(connected, server_hostname=self._host)
        self._connection = http.client.HTTPConnection(self._host, self._port, timeout=seconds)
        self._connection.response_class = _Response
        self._connection.sock = connected
        return self._connection

    def _reach(self, limit: Limit) -> socket.socket:
        """Return a socket to the first address that answers; each gets its part of the time that is left."""
        addresses = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        for left, (*_, address) in zip(range(len(addresses), 0, -1), addresses, strict=True):
            try:
                return socket.create_connection((str(address[0]), self._port), limit.left / left)
            except OSError:
                if left == 1 or limit.over:
                    raise
        raise OSError(f"{self._host} has no address")

    def shut(self) -> None:
        """Let whatever reads or writes this connection end, in another thread."""
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
