"""Connections to hosts, with a deadline over resolving, connecting and everything after it.

What goes through a proxy is in `proxied`, which needs urllib3. Most exchanges go straight to a server, and are made
with http.client alone: to import urllib3 takes as long as a whole verification.
"""

from __future__ import annotations

import http.client
import ipaddress
import select
import socket
import ssl
import threading
import weakref
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, Protocol
from urllib.parse import quote, urlsplit

from tsa_core.client import deadline
from tsa_core.client.deadline import Deadline

MAX_LOOKUPS: Final = 32
"""How many host names may be looked up at once; a resolver that hangs holds a thread for each."""
_LOOKUPS: Final = threading.BoundedSemaphore(MAX_LOOKUPS)

_MAX_IDLE: Final = 16
_PORTS: Final = {"http": 80, "https": 443}
_SAFE: Final = "/%:@!$&'()*+,;=-._~"
"""What stands in a path as it is (RFC 3986 3.3), and the percent sign of what is encoded already."""

_AddressInfo = tuple[Any, ...]
_Place = tuple[str, str, int]
"""Scheme, host and port."""


class ConnectTimeout(TimeoutError):
    """No address of the host took the connection in its share of the time."""


class CannotConnect(OSError):
    """No address of the host took the connection; the cause is that of the last one."""


class HeadersContradict(http.client.HTTPException):
    """The header of an answer says two things of its length."""


class Received(Protocol):
    """An answer whose body is still to be read. The names of its header fields are written Like-This."""

    @property
    def status(self) -> int:
        """The final status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The header fields; those of one name are one, with commas between them."""

    def read1(self, size: int) -> bytes:
        """Return at most `size` octets of the body, none at its end."""

    def finish(self, *, whole: bool) -> None:
        """Give the connection back if the body was read to its end, and close it otherwise, or if not `whole`."""


class Connections(Protocol):
    """Sends requests on connections that it keeps; safe to use from many threads."""

    def send(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], limit: Deadline) -> Received:
        """Send a request and return the beginning of its answer; raises one of `failures.FAILURES`."""

    def clear(self) -> None:
        """Close the connections that nobody uses."""


def resolve(host: str, port: int, limit: Deadline) -> list[_AddressInfo]:
    """Return what getaddrinfo says of a host; raises TimeoutError when the deadline comes first, or socket.gaierror.

    getaddrinfo cannot be interrupted, so a thread waits for it; at the deadline its result is abandoned.
    """
    # As octets, where it can be: for a str Python imports what encodes international names.
    name = host.encode() if host.isascii() else host
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    else:
        return list(socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
    slots = _LOOKUPS
    if not slots.acquire(timeout=limit.remaining):
        raise TimeoutError("too many host names are being looked up")
    found: list[list[_AddressInfo] | OSError | UnicodeError] = []
    finished = threading.Event()

    def look_up() -> None:
        try:
            found.append(list(socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)))
        except (OSError, UnicodeError) as error:
            found.append(error)
        finally:
            slots.release()
            finished.set()

    threading.Thread(target=look_up, name="tsa-client-lookup", daemon=True).start()
    with limit.interrupting(finished.set):
        finished.wait()
    if not found:
        raise TimeoutError("the host name was not resolved in time")
    if isinstance(found[0], UnicodeError):
        raise socket.gaierror(socket.EAI_NONAME, "not a host name")
    if isinstance(found[0], OSError):
        raise found[0]
    return found[0]


def connect(host: str, port: int, limit: Deadline) -> socket.socket:
    """Return a connection to the first address of a host that takes one, guarded by the thread's exchange.

    Raises ConnectTimeout, CannotConnect, socket.gaierror, or TimeoutError when a name is not resolved in time. Each
    address gets an equal share of the time that is left, so that a silent one leaves time for the next.
    """
    addresses = resolve(host, port, limit)
    last: OSError = OSError("the host has no address")
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        if limit.over:
            raise ConnectTimeout("the connection was not made in time")
        try:
            made = socket.socket(family, kind, protocol)
        except OSError as error:  # a family that this machine does not have
            last = error
            continue
        try:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.settimeout(max(limit.remaining / (len(addresses) - number), 0.001))
            made.connect(address)
            # Before TLS and a proxy's answer to CONNECT, which may be as slow as any other answer.
            deadline.hold(made)
        except OSError as error:
            made.close()
            last = error
            continue
        made.settimeout(max(limit.remaining, 0.001))
        return made
    if isinstance(last, TimeoutError):
        raise ConnectTimeout(str(last)) from last
    raise CannotConnect(str(last)) from last


class FinalAnswer(http.client.HTTPResponse):
    """An answer that is no interim one (RFC 9110 15.2); http.client itself passes over 100 (Continue) alone."""

    def begin(self) -> None:
        """Read status and header; 101 (Switching Protocols) is final, and nobody asked for it."""
        super().begin()
        while 101 < self.status < 200:
            self.headers = self.msg = None  # type: ignore[assignment]  # as before the first call, which begins anew
            super().begin()


class DirectConnections:
    """Connections to servers, without a proxy; `context` is for TLS, the system's authorities unless given."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        self._idle: dict[_Place, list[_Connection]] = {}
        self._lock = threading.Lock()
        weakref.finalize(self, _close_all, self._idle)

    def send(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], limit: Deadline) -> Received:
        """Send a request and return the beginning of its answer."""
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        key = parts.scheme, host, parts.port or _PORTS[parts.scheme]
        target = quote(parts.path or "/", safe=_SAFE)
        if parts.query:
            target += f"?{quote(parts.query, safe=_SAFE + '?')}"
        connection = self._kept(key) or _Connection(*key[1:], self._tls() if parts.scheme == "https" else None)
        try:
            connection.begin(limit)
            with suppress(BrokenPipeError, ConnectionResetError):  # it may have answered before it closed
                connection.request(method, target, body, dict(headers))
            return _DirectAnswer(self, key, connection)
        except BaseException:
            connection.close()
            raise

    def clear(self) -> None:
        """Close the connections that nobody uses."""
        with self._lock:
            _close_all(self._idle)

    def keep(self, key: _Place, connection: _Connection) -> None:
        """Take a connection back, for the next request to the same server."""
        with self._lock:
            idle = self._idle.setdefault(key, [])
            if len(idle) < _MAX_IDLE:
                idle.append(connection)
                return
        connection.close()

    def _kept(self, key: _Place) -> _Connection | None:
        """Return a connection that was kept and is still open."""
        while True:
            with self._lock:
                connections = self._idle.get(key)
                if not connections:
                    return None
                connection = connections.pop()
            if connection.is_open:
                return connection
            connection.close()

    def _tls(self) -> ssl.SSLContext:
        with self._lock:
            if self._context is None:
                self._context = ssl.create_default_context()
            # As http.client and urllib3 do: whoever has other protocols at this port learns that it is HTTP/1.1.
            self._context.set_alpn_protocols(["http/1.1"])
            return self._context


class _Connection(http.client.HTTPConnection):
    """A connection that the deadline of the thread's exchange shuts down."""

    response_class = FinalAnswer

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        super().__init__(host, port)
        self.default_port = _PORTS["http" if context is None else "https"]
        self._tls_context = context

    def begin(self, limit: Deadline) -> None:
        """Connect, or guard a connection that was kept from an earlier exchange by this one."""
        if self.sock is None:
            made = connect(self.host, self.port, limit)
            if self._tls_context is not None:
                made = self._tls_context.wrap_socket(made, server_hostname=self.host.partition("%")[0])
            self.sock = made
        else:
            deadline.hold(self.sock)
        self.sock.settimeout(max(limit.remaining, 0.001))

    @property
    def is_open(self) -> bool:
        """Whether the server has neither closed it nor said what nobody asked for."""
        if self.sock is None:
            return False
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return not poll.poll(0)


def _close_all(idle: dict[_Place, list[_Connection]]) -> None:
    while idle:
        for connection in idle.popitem()[1]:
            connection.close()


class _DirectAnswer:
    def __init__(self, owner: DirectConnections, key: _Place, connection: _Connection) -> None:
        self._owner = owner
        self._key = key
        self._connection = connection
        self._response = connection.getresponse()
        fields: dict[str, list[str]] = {}
        for name, value in self._response.headers.items():
            fields.setdefault(name.title(), []).append(" ".join(value.split()))
        lengths = {length.strip() for value in fields.get("Content-Length", ()) for length in value.split(",")}
        if len(lengths) > 1:
            raise HeadersContradict("the answer has two lengths")
        self.status = self._response.status
        self.headers = {name: ", ".join(values) for name, values in fields.items()}

    def read1(self, size: int) -> bytes:
        try:
            data = self._response.read1(size)
            if not data and self._response.length:
                raise http.client.IncompleteRead(b"", self._response.length)
        except BaseException:
            # To http.client an answer with a broken chunk has ended; what follows would answer the next request.
            self._connection.close()
            raise
        return data

    def finish(self, *, whole: bool) -> None:
        response, connection = self._response, self._connection
        ended = response.isclosed() or response.length == 0
        response.close()
        if whole and ended and not response.will_close and connection.sock is not None:
            self._owner.keep(self._key, connection)
        else:
            connection.close()
