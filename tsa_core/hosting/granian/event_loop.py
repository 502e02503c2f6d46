"""An event loop that lets other threads wait when they bring more than it can do.

granian hands every request to the event loop, however many wait there already. With HTTP/1.1 a connection brings one
at a time; with HTTP/2 a client that cancels what it asks for brings them without end. Whoever waits here reads nothing
from any connection meanwhile, so it is the clients who wait.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import Context
from itertools import count
from typing import Any, TypeVarTuple

_Ts = TypeVarTuple("_Ts")

_MOST = 1000
_ENOUGH = 500
_LONGEST_SECONDS = 0.5
"""Nobody is held for longer, for a thread that the loop waits for in its turn would hold both for ever."""


class BoundedEventLoop(asyncio.SelectorEventLoop):
    """Counts what other threads have brought and it has not begun; a call from a thread may take half a second."""

    def __init__(self) -> None:
        super().__init__()
        self._brought = count(1)
        self._begun = 0
        self._latest = 0
        self._room = threading.Event()
        self._room.set()
        self._runner = 0

    def run_forever(self) -> None:
        """Run until stopped, in this thread."""
        self._runner = threading.get_ident()
        super().run_forever()

    def call_soon_threadsafe(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Call back in the loop's thread; wait first when much has been brought already."""
        latest = self._latest = next(self._brought)
        handle = super().call_soon_threadsafe(self._begin, callback, args, context=context)
        if latest - self._begun > _MOST and threading.get_ident() != self._runner:
            self._room.clear()
            if self._latest - self._begun > _ENOUGH:
                self._room.wait(_LONGEST_SECONDS)
        return handle

    def _begin(self, callback: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self._begun += 1
        if self._latest - self._begun <= _ENOUGH and not self._room.is_set():
            self._room.set()
        callback(*arguments)
