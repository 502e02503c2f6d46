"""The thread that syncs the file some time after a write, for as long as the sink lives.

What is due follows from the time of the oldest write without a sync. So when the thread cannot be started, dies or
is late, the next writer is told to sync by itself, and nothing that fails once ends the syncing until a restart.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic

log = logging.getLogger(__name__)

_LATE_SECONDS = 1.0


class SyncThread:
    """Calls `sync` about `interval` seconds after a write. `sync` must call `done` when it has worked or failed.

    Call `written` and `done` with the lock on the file.
    """

    def __init__(self, sync: Callable[[], None], interval: float) -> None:
        self._sync = sync
        self._interval = interval
        self._oldest: float | None = None
        self._due = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._troubled = False

    def written(self) -> bool:
        """Note a write; return True when the caller must sync, because the thread does not."""
        now = monotonic()
        if self._oldest is None:
            self._oldest = now
        elif now - self._oldest > 2 * self._interval + _LATE_SECONDS:
            self._say("is late")
            return True
        if self._thread is None or not self._thread.is_alive():
            thread = threading.Thread(target=self._run, name="audit-sync", daemon=True)
            try:
                thread.start()
            except (RuntimeError, MemoryError) as error:
                self._say(f"cannot be started ({error})")
                return True
            self._thread = thread
        self._due.set()
        return False

    def done(self) -> None:
        """Note that all that was written has been synced, or that its failure is known."""
        self._oldest = None

    def stop(self) -> None:
        """End the thread; may be called more than once."""
        self._stopping.set()
        self._due.set()

    def _say(self, trouble: str) -> None:
        if not self._troubled:
            log.error("the thread that syncs the audit file %s; until it works, tokens wait for the disk", trouble)
        self._troubled = True

    def _run(self) -> None:
        while True:
            self._due.wait()
            self._due.clear()
            if self._stopping.wait(self._interval):
                return
            if self._oldest is None:
                continue
            try:
                self._sync()
            except Exception:
                log.exception("the audit file could not be synced")
                continue
            if self._troubled:
                log.info("the thread that syncs the audit file works again")
                self._troubled = False
