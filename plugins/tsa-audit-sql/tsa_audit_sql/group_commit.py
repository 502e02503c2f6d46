"""Group commit: a thread stores the rows of all requests that wait, in one transaction."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

from tsa_audit_sql.rows import Row
from tsa_core.api import AuditError

log = logging.getLogger(__name__)

_MAX_ROWS: Final = 2_000
"""Rows of one transaction, unless one call has more."""


class _Waiting:
    """Rows on their way into the database, and what became of them."""

    __slots__ = ("done", "failure", "rows", "taken")

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.taken = False
        self.failure: BaseException | None = None
        self.done = threading.Lock()
        self.done.acquire()


class GroupCommit:
    """Calls `commit` with the rows of all that wait, in a thread of its own, which alone uses the connection.

    Each call of `store` returns, or raises AuditError, within `seconds`. After that the call takes its rows back if
    they are still in the queue; else it calls `interrupt`, which must let `commit` fail.
    """

    def __init__(
        self, commit: Callable[[Sequence[Row]], None], interrupt: Callable[[], None], *, seconds: float
    ) -> None:
        self._commit = commit
        self._interrupt = interrupt
        self._seconds = seconds
        self._lock = threading.Lock()
        self._queue: list[_Waiting] = []
        self._wake = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._closed = False
        self.stored_at = monotonic()
        """When rows were stored last."""
        self.failed = False
        """Whether the last rows could not be stored."""

    def store(self, rows: Sequence[Row]) -> None:
        """Store rows; raises AuditError when they are not stored for sure. Without rows `commit` is called, too."""
        mine = _Waiting(rows)
        with self._lock:
            if self._closed:
                raise AuditError("the audit database is closed")
            self._keep_running()
            self._queue.append(mine)
            self._wake.notify()
        if not mine.done.acquire(timeout=self._seconds):
            self._give_up(mine)
        if mine.failure is not None:
            raise AuditError(str(mine.failure)) from mine.failure

    def _give_up(self, mine: _Waiting) -> None:
        with self._lock:
            taken = mine.taken
            if not taken:
                self._queue.remove(mine)
            self.failed = True
        if not taken:
            raise AuditError(f"the record has waited {self._seconds:g} s for the database")
        if not mine.done.acquire(blocking=False):
            self._interrupt()
            raise AuditError(
                f"the database has not answered within {self._seconds:g} s; whether the record is stored is unknown"
            )

    def close(self, seconds: float) -> None:
        """Store what waits, end the thread, and wait for that."""
        with self._lock:
            self._closed = True
            self._wake.notify()
            thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def _keep_running(self) -> None:
        """Start the thread unless it runs. With the lock."""
        if self._thread is not None and self._thread.is_alive():
            return
        thread = threading.Thread(target=self._run, name="audit-sql-commit", daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            raise AuditError(f"the thread that stores records cannot be started: {error}") from None
        self._thread = thread

    def _run(self) -> None:
        while True:
            batch = self._next()
            if not batch:
                return
            rows = [row for waiting in batch for row in waiting.rows]
            failure: BaseException | None = InterruptedError("the thread that stores records was interrupted")
            try:
                self._commit(rows)
                failure = None
                if rows:
                    self.stored_at = monotonic()
            except AuditError as error:
                failure = error
            except Exception as error:
                log.exception("records cannot be stored")
                failure = error
            finally:
                # Without rows nothing was stored: that shows a failure, but not that one is over.
                self.failed = failure is not None or (self.failed and not rows)
                for waiting in batch:
                    waiting.failure = failure
                    waiting.done.release()

    def _next(self) -> list[_Waiting]:
        """Wait for rows and take them out of the queue; nothing when it was closed."""
        with self._lock:
            while not self._queue and not self._closed:
                self._wake.wait()
            batch: list[_Waiting] = []
            size = 0
            for waiting in self._queue:
                size += len(waiting.rows)
                if batch and size > _MAX_ROWS:
                    break
                waiting.taken = True
                batch.append(waiting)
            del self._queue[: len(batch)]
        return batch
