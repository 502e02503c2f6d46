"""Counts of requests in this process's memory, without a thread that is started on a request's way.

The library's storage starts a timer, which is a thread, up to a hundred times a second while it counts, and each looks
at all names. Here one thread looks once a second for what has expired.
"""

from __future__ import annotations

import threading
import time

from limits.storage import MemoryStorage

_LOOK_SECONDS = 1.0


class SweptMemory(MemoryStorage):
    """The library's storage in memory, swept by a thread of its own until `close`."""

    def __init__(self) -> None:
        super().__init__()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="limits", daemon=True)
        self._thread.start()

    def _MemoryStorage__schedule_expiry(self) -> None:  # noqa: N802 - the library's private name
        """Start no timer: what the library would do whenever it counts."""

    def _run(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            self.sweep()

    def sweep(self) -> None:
        """Forget the counts whose time is over."""
        now = time.time()
        for name, expiry in list(self.expirations.items()):
            if expiry <= now:
                self.storage.pop(name, None)
                self.expirations.pop(name, None)
                self.locks.pop(name, None)

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join(_LOOK_SECONDS)
