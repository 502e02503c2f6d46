"""A time limit over a whole exchange, kept by shutting down the sockets that it uses (rule V21).

A limit on each read is not enough: a server that sends one byte a second never breaks it. Here a timer shuts the
sockets down, so that whatever reads or writes them, TLS and proxies included, ends.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Final, Protocol, Self

_ABORT: Final = struct.pack("ii", 1, 0)


class _HasFileno(Protocol):
    def fileno(self) -> int: ...


class Deadline:
    """The moment, `seconds` from now, at which everything that it guards ends; use it in a `with` statement.

    Raises ValueError for a time that is not positive or too long for the platform.
    """

    def __init__(self, seconds: float) -> None:
        if not 0 < seconds <= threading.TIMEOUT_MAX:
            raise ValueError("a timeout must be a positive number of seconds")
        self.seconds = seconds
        self._end = time.monotonic() + seconds
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._interrupts: set[Callable[[], object]] = set()
        self._timer: threading.Timer | None = None

    @property
    def over(self) -> bool:
        """Whether the time has passed, or `cancel` was called."""
        return self._over.is_set() or time.monotonic() >= self._end

    @property
    def remaining(self) -> float:
        """The seconds that are left, 0 when it is over."""
        return 0.0 if self._over.is_set() else max(0.0, self._end - time.monotonic())

    def cancel(self) -> None:
        """End everything now; safe to call from any thread and more than once."""
        with self._lock:
            self._over.set()
            interrupts, self._interrupts = self._interrupts, set()
        for interrupt in interrupts:
            interrupt()

    def wait(self, seconds: float) -> bool:
        """Wait for so many seconds and return True; return False as soon as it is over."""
        return not self._over.wait(min(seconds, self.remaining)) and not self.over

    @contextmanager
    def interrupting(self, interrupt: Callable[[], object]) -> Iterator[None]:
        """Call `interrupt` when it is over, unless the block has been left by then."""
        self.add(interrupt)
        try:
            yield
        finally:
            self.discard(interrupt)

    def add(self, interrupt: Callable[[], object]) -> None:
        """Call `interrupt` when it is over: at once, if it is over already."""
        with self._lock:
            if not self._over.is_set():
                self._interrupts.add(interrupt)
                return
        interrupt()

    def discard(self, interrupt: Callable[[], object]) -> None:
        """Forget what `add` was given."""
        with self._lock:
            self._interrupts.discard(interrupt)

    @contextmanager
    def exchange(self) -> Iterator[None]:
        """Guard every connection that this thread opens or uses again inside the block."""
        if self._timer is None:
            raise RuntimeError("a deadline guards nothing before its with statement")
        current = _Exchange(self)
        token = _CURRENT.set(current)
        try:
            yield
        finally:
            _CURRENT.reset(token)
            current.close()

    def __enter__(self) -> Self:
        self._timer = threading.Timer(self.remaining, self.cancel)
        self._timer.name = "tsa-client-deadline"
        self._timer.daemon = True
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()


class _Exchange:
    """The sockets of one exchange, each held by a duplicate of its own.

    A duplicate reaches the connection whatever wraps the first descriptor, and cannot be mistaken for a later
    connection that was given the same number.
    """

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self._held: list[tuple[socket.socket, Callable[[], object]]] = []

    def hold(self, connection: _HasFileno) -> None:
        duplicate = socket.socket(fileno=os.dup(connection.fileno()))

        def shut_down() -> None:
            with suppress(OSError):
                # Closing it then sends a reset, so that a server that floods is stopped at once.
                duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
                duplicate.shutdown(socket.SHUT_RDWR)

        self._held.append((duplicate, shut_down))
        self.deadline.add(shut_down)

    def close(self) -> None:
        for duplicate, shut_down in self._held:
            self.deadline.discard(shut_down)
            duplicate.close()
        self._held.clear()


_CURRENT: ContextVar[_Exchange | None] = ContextVar("tsa_core.client.deadline", default=None)


def current() -> Deadline:
    """Return the deadline of this thread's exchange; raises RuntimeError outside of one."""
    return _exchange().deadline


def hold(connection: _HasFileno) -> None:
    """Shut this connection down when the deadline of this thread's exchange is over."""
    _exchange().hold(connection)


def _exchange() -> _Exchange:
    exchange = _CURRENT.get()
    if exchange is None:
        raise RuntimeError("a connection of the client is used outside of an exchange")
    return exchange
