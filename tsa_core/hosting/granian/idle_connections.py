"""Closes idle connections to granian, and those of clients that do not read their reply.

granian limits the time for a request's head, and nothing before or after it. A client that never finishes its TLS
handshake, or never reads its reply, would hold its connection for ever. The kernel's TCP_INFO tells which connections
those are. It needs Linux; on other systems this module does nothing.
"""

from __future__ import annotations

import logging
import os
import socket
import stat
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from tsa_core.config import ServerSettings
from tsa_core.hosting.open_files import connection_limit

log = logging.getLogger(__name__)

_DESCRIPTORS = "/proc/self/fd"
_INFO_OCTETS = 152
_UNACKED, _LAST_DATA_SENT, _LAST_DATA_RECEIVED, _BYTES_RECEIVED, _NOT_SENT = 24, 44, 52, 128, 144
"""Offsets in the kernel's struct tcp_info; times are in milliseconds."""
_PAUSE_SECONDS = 5.0
_SHORT_PAUSE_SECONDS = 0.5
_MIN_IDLE_SECONDS = 10.0
"""The client of a connection that has been idle for less may be waiting for a signature."""
_WARNING_PAUSE_SECONDS = 10.0


class Connection(NamedTuple):
    """A connection as the kernel describes it.

    Seconds since data arrived, octets that have arrived, and seconds for which sent data has not been acknowledged.
    """

    idle_seconds: float
    received: int
    unacknowledged_seconds: float
    descriptor: int
    inode: int


class IdleConnections:
    """Closes those connections to some listening sockets that exceed a timeout."""

    def __init__(self, settings: ServerSettings, listening: Sequence[socket.socket]) -> None:
        self._ports = {each.getsockname()[1] for each in listening if each.family != socket.AF_UNIX}
        self._read_seconds = settings.read_timeout.total_seconds()
        self._write_seconds = settings.write_timeout.total_seconds()
        self._idle_seconds = settings.idle_timeout.total_seconds()
        self._limit = connection_limit(settings)
        self._next_warning = 0.0

    def sweep(self) -> float:
        """Check all connections once; returns the seconds until the next check."""
        if not sys.platform.startswith("linux") or not self._ports:
            return _PAUSE_SECONDS
        rest: list[Connection] = []
        for connection in self._connections():
            if self._timed_out(connection):
                _end(connection)
            else:
                rest.append(connection)
        room = self._limit // 10
        if len(rest) > self._limit - room:
            self._warn(len(rest))
            idle = [each for each in rest if each.idle_seconds >= _MIN_IDLE_SECONDS]
            idle.sort(key=lambda each: -each.idle_seconds)
            for connection in idle[: len(rest) - self._limit + 2 * room]:
                _end(connection)
        shortest = min((each for each in (self._read_seconds, self._write_seconds) if each), default=_PAUSE_SECONDS)
        pause = _SHORT_PAUSE_SECONDS if len(rest) > self._limit // 2 else _PAUSE_SECONDS
        return max(_SHORT_PAUSE_SECONDS, min(pause, shortest / 4))

    def end_all(self) -> int:
        """Close every connection; returns how many there were."""
        if not sys.platform.startswith("linux"):
            return 0
        found = list(self._connections())
        for connection in found:
            _end(connection)
        return len(found)

    def end_client(self, client: str) -> bool:
        """Close the connection of the client with this address and port; returns whether there was one."""
        if not sys.platform.startswith("linux"):
            return False
        host, _, port = client.rpartition(":")
        wanted = (host.strip("[]"), int(port))
        for connection in self._connections():
            with _own(connection.descriptor) as found, suppress(OSError):
                if found is not None and found.getpeername()[:2] == wanted:
                    _end(connection)
                    return True
        return False

    def _timed_out(self, connection: Connection) -> bool:
        if connection.received == 0 and self._read_seconds and connection.idle_seconds > self._read_seconds:
            return True
        if self._write_seconds and connection.unacknowledged_seconds > self._write_seconds:
            return True
        return connection.idle_seconds > self._idle_seconds + self._read_seconds

    def _connections(self) -> Iterator[Connection]:
        for name in os.listdir(_DESCRIPTORS):  # noqa: PTH208 - only the names are needed
            with _own(int(name)) as found:
                if found is None or found.family not in {socket.AF_INET, socket.AF_INET6}:
                    continue
                try:
                    if found.getsockname()[1] not in self._ports or found.getsockopt(
                        socket.SOL_SOCKET, socket.SO_ACCEPTCONN
                    ):
                        continue
                    info = found.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_OCTETS)
                except OSError:
                    continue  # it has been closed meanwhile
                if len(info) == _INFO_OCTETS:  # the struct of an old kernel is shorter
                    yield _describe(info, int(name), os.fstat(found.fileno()).st_ino)

    def _warn(self, connections: int) -> None:
        now = time.monotonic()
        if now >= self._next_warning:
            self._next_warning = now + _WARNING_PAUSE_SECONDS
            log.warning(
                "%d of %d connections to granian are in use; those idle longest are closed to make room ([server] "
                "connection_limit)",
                connections,
                self._limit,
            )


@contextmanager
def _own(descriptor: int) -> Iterator[socket.socket | None]:
    """Give a socket over a copy of the descriptor, whose number no other code reuses; None when it is no socket.

    Other files are not copied: closing a copy ends the locks that this process has on a file (fcntl(2)).
    """
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            yield None
            return
        copy = os.dup(descriptor)
    except OSError:
        yield None
        return
    try:
        found = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        yield None
        return
    try:
        yield found
    finally:
        found.close()


def _describe(info: bytes, descriptor: int, inode: int) -> Connection:
    def number(offset: int) -> int:
        value: int = struct.unpack_from("=I", info, offset)[0]
        return value

    return Connection(
        idle_seconds=number(_LAST_DATA_RECEIVED) / 1000,
        received=struct.unpack_from("=Q", info, _BYTES_RECEIVED)[0],
        unacknowledged_seconds=number(_LAST_DATA_SENT) / 1000 if number(_UNACKED) or number(_NOT_SENT) else 0.0,
        descriptor=descriptor,
        inode=inode,
    )


def _end(connection: Connection) -> None:
    """Shut a connection down if the descriptor still has the same one; granian notices and closes it."""
    with _own(connection.descriptor) as found, suppress(OSError):
        if found is not None and os.fstat(found.fileno()).st_ino == connection.inode:
            found.shutdown(socket.SHUT_RDWR)
