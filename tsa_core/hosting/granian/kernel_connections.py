"""granian's connections as the kernel describes them (TCP_INFO); on Linux, elsewhere there are none to see."""

from __future__ import annotations

import os
import socket
import stat
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

_DESCRIPTORS = "/proc/self/fd"
_INFO_OCTETS = 152
_NUMBERS = struct.Struct("=I")
_UNACKED, _LAST_DATA_SENT, _LAST_DATA_RECEIVED, _NOT_SENT = 24, 44, 52, 144
_ACKED_AND_RECEIVED = struct.Struct("=QQ")
_ACKED = 120
"""Offsets in the kernel's struct tcp_info; times are in milliseconds."""


@dataclass(slots=True, eq=False)
class KernelConnection:
    """A connection, and what was seen of it last.

    `idle_seconds` passed since octets arrived, and `unsent_seconds` since some were sent to the client. `stuck_seconds`
    says for how long octets have waited that the client does not take. `unfinished_since` and `unasked_since` are
    kept by who looks.
    """

    descriptor: int
    inode: int
    client: tuple[str, str]
    received: int = 0
    answered: bool = False
    idle_seconds: float = 0.0
    unsent_seconds: float = 0.0
    stuck_seconds: float = 0.0
    unfinished_since: float | None = None
    unasked_since: float | None = None

    def end(self) -> bool:
        """Shut the connection down if its descriptor still has it; granian notices and closes it."""
        try:
            copy = os.dup(self.descriptor)
        except OSError:
            return False
        try:
            found = socket.socket(fileno=copy)  # no other code reuses the number of a copy
        except OSError:
            os.close(copy)
            return False
        with found, suppress(OSError):
            if os.fstat(copy).st_ino == self.inode:
                found.shutdown(socket.SHUT_RDWR)
                return True
        return False


class KernelConnections:
    """Finds the connections to some listening sockets among the descriptors of this process."""

    def __init__(self, listening: Sequence[socket.socket]) -> None:
        self._ports = {each.getsockname()[1] for each in listening if each.family != socket.AF_UNIX}
        self._unix = any(each.family == socket.AF_UNIX for each in listening)
        self._known: dict[int, tuple[int, KernelConnection | None]] = {}
        """By descriptor: its inode, and the connection, None when it is something else."""

    @property
    def visible(self) -> bool:
        """Whether connections can be seen at all."""
        return bool(self._ports) and sys.platform.startswith("linux")

    @property
    def all_visible(self) -> bool:
        """Whether all can be seen: none of them comes by a Unix socket."""
        return self.visible and not self._unix

    def look(self) -> Iterator[KernelConnection]:
        """Yield the connections that are open now."""
        if not self.visible:
            return
        known, self._known = self._known, {}
        for name in os.listdir(_DESCRIPTORS):  # noqa: PTH208 - only the names are needed
            descriptor = int(name)
            try:
                status = os.fstat(descriptor)
            except OSError:
                continue  # it has been closed meanwhile
            if not stat.S_ISSOCK(status.st_mode):
                continue
            inode, connection = known.get(descriptor, (0, None))
            if inode != status.st_ino:
                connection = self._identify(descriptor, status.st_ino)
            self._known[descriptor] = status.st_ino, connection
            if connection is not None and _update(connection):
                yield connection

    def _identify(self, descriptor: int, inode: int) -> KernelConnection | None:
        for family in (socket.AF_INET, socket.AF_INET6):
            found = socket.socket(family, socket.SOCK_STREAM, 0, descriptor)
            try:
                if found.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN) != family:
                    continue
                if found.getsockname()[1] not in self._ports or found.getsockopt(
                    socket.SOL_SOCKET, socket.SO_ACCEPTCONN
                ):
                    return None
                host, port = found.getpeername()[:2]
                return KernelConnection(descriptor, inode, (host, str(port)))
            except OSError:
                return None
            finally:
                found.detach()  # the descriptor is granian's
        return None


def _update(connection: KernelConnection) -> bool:
    """Note what the kernel says of a connection now; returns whether it says something."""
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, connection.descriptor)
    try:
        info = found.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_OCTETS)
    except OSError:
        return False
    finally:
        found.detach()
    if len(info) != _INFO_OCTETS:
        return False  # the struct of an old kernel is shorter

    def number(offset: int) -> int:
        value: int = _NUMBERS.unpack_from(info, offset)[0]
        return value

    acked, connection.received = _ACKED_AND_RECEIVED.unpack_from(info, _ACKED)
    waiting = bool(number(_UNACKED) or number(_NOT_SENT))
    connection.answered = waiting or acked > 1  # the acknowledged SYN may count as one
    connection.idle_seconds = number(_LAST_DATA_RECEIVED) / 1000
    connection.unsent_seconds = number(_LAST_DATA_SENT) / 1000
    connection.stuck_seconds = connection.unsent_seconds if waiting else 0.0
    return True
