"""Hands what happened to a plugin in a thread of its own, so that no request and no reply waits for it."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Final, Generic, TypeVar

log = logging.getLogger(__name__)

_HELD_SECONDS: Final = 0.05
"""How long the first item waits for others: to wake the thread for each one would cost more than the rest."""
_LAST_SECONDS: Final = 1.0
"""How long `finish` waits, unless it is told otherwise."""
_WARNING_PAUSE_SECONDS: Final = 10.0

_Item = TypeVar("_Item")


class BackgroundQueue(ABC, Generic[_Item]):
    """Queues items for a plugin, at most `limit`; more are lost, counted, and told in the log.

    The thread starts with the first item. Whoever opened the plugin closes it, after `finish`.
    """

    together: int = 1
    """How many items are given on at once, at most."""

    def __init__(self, thread_name: str, *, limit: int) -> None:
        self._thread_name = thread_name
        self._limit = limit
        self._queue: deque[_Item] = deque()
        self._woken = False
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._losing = threading.Lock()
        self._lost = self._untold = 0
        self._why = ""
        self._next_warning = 0.0

    @abstractmethod
    def _give(self, items: Sequence[_Item]) -> None:
        """Give items to the plugin; whatever that raises is caught here."""

    @abstractmethod
    def _tell_lost(self, count: int, why: str) -> None:
        """Write into the log how many items were lost since the last time."""

    def put(self, item: _Item) -> None:
        """Queue an item; waits for nothing."""
        queue = self._queue
        if len(queue) >= self._limit:
            self._lose(1, f"{self._limit} wait already")
            return
        queue.append(item)
        if not self._woken:
            self._woken = True
            self._start()
            self._wake.set()

    def take_lost(self) -> int:
        """Return how many items were lost since the last call."""
        with self._losing:
            lost, self._lost = self._lost, 0
        return lost

    def stop(self) -> None:
        """Give on what is queued, and then end the thread; returns at once."""
        self._ending.set()
        self._wake.set()

    def finish(self, *, seconds: float = _LAST_SECONDS) -> None:
        """Do so, and wait `seconds` at most; what is left then is lost."""
        self.stop()
        if self._thread is not None:
            self._thread.join(seconds)
        if left := len(self._take(self._limit)):
            self._lose(left, "the server ended")
        self._tell(at_once=True)

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None and self._thread.is_alive():
                return
            thread = threading.Thread(target=self._run, name=self._thread_name, daemon=True)
            try:
                thread.start()
            except (RuntimeError, MemoryError) as error:
                self._woken = False  # the next item tries again
                log.error("%s has no thread: %s", self._thread_name, error)  # noqa: TRY400 - no traceback
            else:
                self._thread = thread

    def _run(self) -> None:
        while not self._ending.is_set():
            if not self._wake.wait(self._next_warning - monotonic() if self._untold else None):
                self._tell()
                continue
            self._wake.clear()
            self._ending.wait(_HELD_SECONDS)
            # Cleared before the queue is emptied: what is added after that either is given on or wakes the thread.
            self._woken = False
            self._give_all()
        self._give_all()  # what came before `stop`, even if the thread had not begun then

    def _give_all(self) -> None:
        while items := self._take(self.together):
            self._give(items)

    def _take(self, most: int) -> list[_Item]:
        """Take items from the queue; `finish` may do it while the thread does."""
        items: list[_Item] = []
        with suppress(IndexError):
            while len(items) < most:
                items.append(self._queue.popleft())
        return items

    def _lose(self, count: int, why: str) -> None:
        with self._losing:
            self._lost += count
            self._untold += count
            self._why = why
        self._tell()

    def _tell(self, *, at_once: bool = False) -> None:
        """Tell how many were lost and not told yet; not again within some seconds, unless `at_once`."""
        with self._losing:
            now = monotonic()
            if not self._untold or (now < self._next_warning and not at_once):
                return
            self._next_warning = now + _WARNING_PAUSE_SECONDS
            untold, self._untold = self._untold, 0
            why = self._why
        self._tell_lost(untold, why)
