"""urllib3's connections, with a deadline over resolving, connecting and everything after it."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import threading
from typing import Any, Final

import urllib3
from urllib3 import connection, exceptions

from tsa_core.client import deadline
from tsa_core.client.deadline import Deadline

MAX_LOOKUPS: Final = 32
"""How many host names may be looked up at once; a resolver that hangs holds a thread for each."""
_LOOKUPS: Final = threading.BoundedSemaphore(MAX_LOOKUPS)

_AddressInfo = tuple[Any, ...]


def resolve(host: str, port: int, limit: Deadline) -> list[_AddressInfo]:
    """Return what getaddrinfo says of a host; raises TimeoutError when the deadline comes first, or socket.gaierror.

    getaddrinfo cannot be interrupted, so a thread waits for it; at the deadline its result is abandoned.
    """
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    else:
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
    slots = _LOOKUPS
    if not slots.acquire(timeout=limit.remaining):
        raise TimeoutError("too many host names are being looked up")
    found: list[list[_AddressInfo] | OSError | UnicodeError] = []
    finished = threading.Event()

    def look_up() -> None:
        try:
            found.append(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
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


def connect(
    host: str, port: int, limit: Deadline, options: list[tuple[int, int, int | bytes]] | None = None
) -> socket.socket:
    """Return a connection to the first address of a host that takes one; raises OSError or TimeoutError.

    Each address gets an equal share of the time that is left, so that a silent one leaves time for the next.
    """
    addresses = resolve(host, port, limit)
    last: OSError = OSError("the host has no address")
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        if limit.over:
            raise TimeoutError("the connection was not made in time")
        try:
            made = socket.socket(family, kind, protocol)
        except OSError as error:  # a family that this machine does not have
            last = error
            continue
        try:
            for option in options or ():
                made.setsockopt(*option)
            made.settimeout(max(limit.remaining / (len(addresses) - number), 0.001))
            made.connect(address)
        except OSError as error:
            made.close()
            last = error
            continue
        made.settimeout(max(limit.remaining, 0.001))
        return made
    raise last


class _FinalAnswer(http.client.HTTPResponse):
    """An answer that is no interim one (RFC 9110 15.2); http.client itself passes over 100 (Continue) alone."""

    def begin(self) -> None:
        """Read status and header; 101 (Switching Protocols) is final, and nobody asked for it."""
        super().begin()
        while 101 < self.status < 200:
            self.headers = self.msg = None  # type: ignore[assignment]  # as before the first call, which begins anew
            super().begin()


class GuardedConnection(connection.HTTPConnection):
    """A connection that the deadline of the thread's exchange shuts down."""

    response_class = _FinalAnswer

    def _new_conn(self) -> socket.socket:
        try:
            made = connect(self._dns_host.strip("[]"), self.port, deadline.current(), self.socket_options)
        except socket.gaierror as error:
            raise exceptions.NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise exceptions.ConnectTimeoutError(self, str(error)) from error
        except OSError as error:
            raise exceptions.NewConnectionError(self, str(error)) from error
        # Before TLS and a proxy's answer to CONNECT, which may be as slow as any other answer.
        try:
            deadline.hold(made)
        except OSError as error:
            made.close()
            raise exceptions.NewConnectionError(self, str(error)) from error
        return made

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send a request; a connection that was kept from an earlier exchange is guarded by this one."""
        if self.sock is not None:
            deadline.hold(self.sock)
        super().request(*args, **kwargs)


class GuardedTlsConnection(GuardedConnection, connection.HTTPSConnection):
    """The same with TLS."""


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = GuardedConnection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = GuardedTlsConnection


def guarded(manager: urllib3.PoolManager) -> urllib3.PoolManager:
    """Make a pool manager's connections guarded ones."""
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
    return manager
