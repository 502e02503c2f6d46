"""Tells an observer of requests in a thread of its own, so that no request waits for it."""

from __future__ import annotations

import logging
import threading
from collections import deque
from time import monotonic

from tsa_core.api import Observer, RequestOutcome

log = logging.getLogger(__name__)

_HELD_SECONDS = 0.05
"""How long outcomes wait for others: to wake the thread for each one would cost more than the rest."""
_LAST_SECONDS = 1.0
"""How long `finish` waits for the observer, unless it is told otherwise."""
_WARNING_PAUSE_SECONDS = 10.0


class QueuedObserver(Observer):
    """Queues outcomes for an observer, at most `limit`; more are dropped, counted, and told in the log.

    A failure of the observer is logged, whatever it raises. The thread starts with the first outcome. Whoever opened
    the observer closes it, after `finish`.
    """

    def __init__(self, name: str, observer: Observer, *, limit: int) -> None:
        self._name = name
        self._observer = observer
        self._limit = limit
        self._queue: deque[RequestOutcome] = deque()
        self._woken = False
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._dropping = threading.Lock()
        self._dropped = 0
        self._untold = 0
        self._next_warning = 0.0

    def observe(self, outcome: RequestOutcome) -> None:
        """Queue an outcome; waits for nothing."""
        queue = self._queue
        if len(queue) >= self._limit:
            self._drop(1)
            return
        queue.append(outcome)
        if not self._woken:
            self._woken = True
            self._start()
            self._wake.set()

    def take_dropped(self) -> int:
        """Return how many outcomes were dropped since the last call."""
        with self._dropping:
            dropped, self._dropped = self._dropped, 0
        return dropped

    def stop(self) -> None:
        """Tell what is queued, and then end the thread; returns at once."""
        self._ending.set()
        self._wake.set()

    def finish(self, *, seconds: float = _LAST_SECONDS) -> None:
        """Do so, and wait `seconds` at most; what is left then is dropped."""
        self.stop()
        if self._thread is not None:
            self._thread.join(seconds)
        if left := len(self._queue):
            self._drop(left)

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None and self._thread.is_alive():
                return
            thread = threading.Thread(target=self._run, name=f"observer-{self._name}", daemon=True)
            try:
                thread.start()
            except (RuntimeError, MemoryError) as error:
                self._woken = False  # the next outcome tries again
                log.error("the observer %r has no thread: %s", self._name, error)  # noqa: TRY400 - no traceback
            else:
                self._thread = thread

    def _drop(self, count: int) -> None:
        with self._dropping:
            self._dropped += count
            self._untold += count
            now = monotonic()
            if now < self._next_warning:
                return
            self._next_warning = now + _WARNING_PAUSE_SECONDS
            untold, self._untold = self._untold, 0
        log.warning(
            "the observer %r does not keep up: it was not told of %d requests ([observe] queue_limit = %d)",
            self._name,
            untold,
            self._limit,
        )

    def _run(self) -> None:
        while not self._ending.is_set():
            self._wake.wait()
            self._wake.clear()
            self._ending.wait(_HELD_SECONDS)
            # Cleared before the queue is emptied: what is added after that either is told or wakes the thread.
            self._woken = False
            while self._queue:
                self._tell(self._queue.popleft())

    def _tell(self, outcome: RequestOutcome) -> None:
        try:
            self._observer.observe(outcome)
        except BaseException:
            log.exception("the observer %r crashed", self._name)
