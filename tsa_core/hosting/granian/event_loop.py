"""Event loops for granian, whose threads submit every request and every body to the loop.

`WakingEventLoop` is woken once for all that is submitted while it is busy. asyncio's loops make a system call for each
callback, and the thread that makes it competes with the loop's for Python's lock. Another thread can go on with the
loop while a callback hangs in the thread before.

`BoundedEventLoop` has a bounded queue, too: a thread that submits callbacks waits while too many are queued.

granian submits every request to the event loop, however many are queued. With HTTP/1.1 a connection has one request at
a time. With HTTP/2 a client that cancels its requests can submit them without end. A thread of granian that waits in
the second loop reads from no connection meanwhile, so the clients have to wait.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import Context
from itertools import count
from typing import Any, TypeVarTuple, cast

_Ts = TypeVarTuple("_Ts")

_MAX_QUEUED = 1000
_RESUME_BELOW = 500
_MAX_WAIT_SECONDS = 0.5
"""No thread waits longer: the loop may be waiting for that thread, and both would wait for ever."""


class WakingEventLoop(asyncio.SelectorEventLoop):
    """Writes to the socket that wakes it only when nothing that was written there is unread.

    A callback is queued before the loop is woken, and the loop runs what is queued after it has read that socket. So a
    callback that finds the socket written to is run as well.

    It runs in one thread at a time. Another one can `go_on` with it while a callback hangs in the thread before; that
    callback must belong to no task, and end with SystemExit or a subclass. The loop is asyncio's own; what this class
    sets and calls of it is the same from Python 3.11 to 3.14.
    """

    def __init__(self) -> None:
        super().__init__()
        self._woken = False

    def _write_to_self(self) -> None:
        if not self._woken:
            self._woken = True
            super()._write_to_self()  # type: ignore[misc]

    def _process_self_data(self, data: bytes) -> None:
        self._woken = False
        super()._process_self_data(data)  # type: ignore[misc]

    def go_on(self) -> None:
        """Run until stopped, in this thread; raises what a callback ended with."""
        loop: Any = self
        loop._thread_id = threading.get_ident()
        asyncio._set_running_loop(self)
        try:
            while not loop._stopping:
                loop._run_once()
        finally:
            asyncio._set_running_loop(None)

    def end(self) -> None:
        """Close the loop; no thread goes on with it any more."""
        loop: Any = self
        loop._thread_id = None
        self.close()


class BoundedEventLoop(WakingEventLoop):
    """Counts the callbacks that other threads have submitted and that have not begun. A thread waits 0.5 s at most."""

    def __init__(self) -> None:
        super().__init__()
        self._submitted = count(1)
        self._started = 0
        self._latest = 0
        self._room = threading.Event()
        self._room.set()

    def call_soon_threadsafe(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Call `callback` in the loop's thread; wait when too many callbacks are queued."""
        latest = self._latest = next(self._submitted)
        handle = super().call_soon_threadsafe(self._start_callback, callback, args, context=context)
        runner: int | None = cast("Any", self)._thread_id
        if latest - self._started > _MAX_QUEUED and threading.get_ident() != runner:
            self._room.clear()
            if self._latest - self._started > _RESUME_BELOW:
                self._room.wait(_MAX_WAIT_SECONDS)
        return handle

    def _start_callback(self, callback: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self._started += 1
        if self._latest - self._started <= _RESUME_BELOW and not self._room.is_set():
            self._room.set()
        callback(*arguments)
