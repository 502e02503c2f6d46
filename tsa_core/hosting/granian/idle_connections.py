"""Ends the connections to granian that granian itself would keep for ever.

granian limits the time for a request's head, and nothing before or after: a client that never finishes its TLS
handshake, or never reads its reply, holds a connection until it goes away by itself. What the kernel knows of each
connection is enough to tell (TCP_INFO), so this needs Linux; elsewhere it does nothing.
"""

from __future__ import annotations

import logging
import os
import socket
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
_BRISK_PAUSE_SECONDS = 0.5
_LEAST_SILENT_SECONDS = 10.0
"""Who has been silent for less is perhaps waiting for a signature."""
_WARNING_PAUSE_SECONDS = 10.0


class Connection(NamedTuple):
    """What the kernel says of one: seconds since anything arrived, octets that did, seconds for which output waits."""

    silent_seconds: float
    received: int
    stuck_seconds: float
    descriptor: int
    inode: int


class IdleConnections:
    """Looks at the connections to some listening sockets and ends those that have had their time."""

    def __init__(self, settings: ServerSettings, listening: Sequence[socket.socket]) -> None:
        self._ports = {each.getsockname()[1] for each in listening if each.family != socket.AF_UNIX}
        self._read_seconds = settings.read_timeout.total_seconds()
        self._write_seconds = settings.write_timeout.total_seconds()
        self._idle_seconds = settings.idle_timeout.total_seconds()
        self._limit = connection_limit(settings)
        self._next_warning = 0.0

    def sweep(self) -> float:
        """Look once; return after how many seconds to look again."""
        if not sys.platform.startswith("linux") or not self._ports:
            return _PAUSE_SECONDS
        rest: list[Connection] = []
        for connection in self._connections():
            if self._is_over(connection):
                _end(connection)
            else:
                rest.append(connection)
        room = self._limit // 10
        if len(rest) > self._limit - room:
            self._warn(len(rest))
            silent = [each for each in rest if each.silent_seconds >= _LEAST_SILENT_SECONDS]
            silent.sort(key=lambda each: -each.silent_seconds)
            for connection in silent[: len(rest) - self._limit + 2 * room]:
                _end(connection)
        shortest = min((each for each in (self._read_seconds, self._write_seconds) if each), default=_PAUSE_SECONDS)
        pause = _BRISK_PAUSE_SECONDS if len(rest) > self._limit // 2 else _PAUSE_SECONDS
        return max(_BRISK_PAUSE_SECONDS, min(pause, shortest / 4))

    def end_all(self) -> int:
        """End every connection; return how many there were."""
        if not sys.platform.startswith("linux"):
            return 0
        found = list(self._connections())
        for connection in found:
            _end(connection)
        return len(found)

    def end_client(self, client: str) -> bool:
        """End the connection of the client with this address and port; say whether there was one."""
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

    def _is_over(self, connection: Connection) -> bool:
        if connection.received == 0 and self._read_seconds and connection.silent_seconds > self._read_seconds:
            return True
        if self._write_seconds and connection.stuck_seconds > self._write_seconds:
            return True
        return connection.silent_seconds > self._idle_seconds + self._read_seconds

    def _connections(self) -> Iterator[Connection]:
        for name in os.listdir(_DESCRIPTORS):  # noqa: PTH208 - names are all there is to know
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
                    continue  # it has ended in this moment
                if len(info) == _INFO_OCTETS:  # an old kernel knows less
                    yield _describe(info, int(name), os.fstat(found.fileno()).st_ino)

    def _warn(self, connections: int) -> None:
        now = time.monotonic()
        if now >= self._next_warning:
            self._next_warning = now + _WARNING_PAUSE_SECONDS
            log.warning(
                "%d of %d connections to granian are in use; those silent longest are closed to make room ([server] "
                "connection_limit)",
                connections,
                self._limit,
            )


@contextmanager
def _own(descriptor: int) -> Iterator[socket.socket | None]:
    """Give a socket over a copy of the descriptor, in whose place nobody can put a stranger; None for no socket."""
    try:
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
        silent_seconds=number(_LAST_DATA_RECEIVED) / 1000,
        received=struct.unpack_from("=Q", info, _BYTES_RECEIVED)[0],
        stuck_seconds=number(_LAST_DATA_SENT) / 1000 if number(_UNACKED) or number(_NOT_SENT) else 0.0,
        descriptor=descriptor,
        inode=inode,
    )


def _end(connection: Connection) -> None:
    """Shut a connection down, if it is still the same one; granian notices, and closes it."""
    with _own(connection.descriptor) as found, suppress(OSError):
        if found is not None and os.fstat(found.fileno()).st_ino == connection.inode:
            found.shutdown(socket.SHUT_RDWR)
