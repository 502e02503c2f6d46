"""Tells an audit sink of refused requests in a thread of its own, so that no reply waits for it."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import Final

from tsa_core.api import AuditError, AuditSink, RefusalRecord, one_line

log = logging.getLogger(__name__)

_LIMIT: Final = 10_000
"""Records that wait at most: some 10 MB of the longest."""
_TOGETHER: Final = 1_000
"""Records that a sink is given at once, at most."""
_HELD_SECONDS: Final = 0.05
"""How long the first record waits for others, which a sink then stores with one sync."""
_LAST_SECONDS: Final = 1.0
_WARNING_PAUSE_SECONDS: Final = 10.0


class QueuedRefusals:
    """Queues refusals for a sink that wants them. Whoever opened the sink closes it, after `finish`.

    A refusal that cannot be stored, or for which there is no room, is lost: it is counted, and the log says so, but no
    token is withheld for it. Anybody can cause refusals, and a client that causes many must not stop the others.
    """

    def __init__(self, name: str, sink: AuditSink, *, limit: int = _LIMIT) -> None:
        self._name = name
        self._sink = sink
        self._limit = limit
        self._queue: deque[RefusalRecord] = deque()
        self._woken = False
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._losing = threading.Lock()
        self._lost = self._untold = 0
        self._next_warning = 0.0

    def put(self, record: RefusalRecord) -> None:
        """Queue a refusal; waits for nothing."""
        queue = self._queue
        if len(queue) >= self._limit:
            self._lose(1, f"{self._limit} wait already")
            return
        queue.append(record)
        if not self._woken:
            self._woken = True
            self._start()
            self._wake.set()

    def take_lost(self) -> int:
        """Return how many refusals were lost since the last call."""
        with self._losing:
            lost, self._lost = self._lost, 0
        return lost

    def stop(self) -> None:
        """Store what is queued, and then end the thread; returns at once."""
        self._ending.set()
        self._wake.set()

    def finish(self, *, seconds: float = _LAST_SECONDS) -> None:
        """Do so, and wait `seconds` at most; what is left then is lost."""
        self.stop()
        if self._thread is not None:
            self._thread.join(seconds)
        if left := len(self._queue):
            self._lose(left, "the server ended")

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None and self._thread.is_alive():
                return
            thread = threading.Thread(target=self._run, name=f"refusals-{self._name}", daemon=True)
            try:
                thread.start()
            except (RuntimeError, MemoryError) as error:
                self._woken = False  # the next refusal tries again
                log.error("the refusals for the audit sink %r have no thread: %s", self._name, error)  # noqa: TRY400 - no traceback
            else:
                self._thread = thread

    def _run(self) -> None:
        while not self._ending.is_set():
            self._wake.wait()
            self._wake.clear()
            self._ending.wait(_HELD_SECONDS)
            # Cleared before the queue is emptied: what is added after that either is stored or wakes the thread.
            self._woken = False
            while self._queue:
                self._store([self._queue.popleft() for _ in range(min(_TOGETHER, len(self._queue)))])

    def _store(self, records: Sequence[RefusalRecord]) -> None:
        try:
            self._sink.write_refusals(records)
        except AuditError as error:
            self._lose(len(records), one_line(error))
        except BaseException as error:
            log.exception("the audit sink %r crashed", self._name)
            self._lose(len(records), type(error).__name__)

    def _lose(self, count: int, why: str) -> None:
        with self._losing:
            self._lost += count
            self._untold += count
            now = monotonic()
            if now < self._next_warning:
                return
            self._next_warning = now + _WARNING_PAUSE_SECONDS
            untold, self._untold = self._untold, 0
        log.error("the audit sink %r has no record of %d refused requests: %s", self._name, untold, why)
