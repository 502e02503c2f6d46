"""Counts of requests in this process's memory, without a thread that is started on a request's way.

The library's storage starts a timer, which is a thread, up to a hundred times a second while it counts, and each looks
at all names. Here one thread looks once a second for what has expired.

Counts expire by the monotonic clock, and not by the time of day as the library's: whoever sets the clock ends no quota,
and lets none last for ever.
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

    def _MemoryStorage__expire_events(self) -> None:  # noqa: N802 - as above
        """Forget nothing by the time of day: what the library does once, soon after the start."""

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Count, and return the count; the first one begins the time until it expires."""
        self.get(key)
        with self.locks[key]:
            self.storage[key] += amount
            if self.storage[key] == amount:
                self.expirations[key] = time.monotonic() + expiry
        return self.storage.get(key, 0)

    def get(self, key: str) -> int:
        """Return a count; 0 when it has expired."""
        if self.expirations.get(key, 0) <= time.monotonic():
            self._forget(key)
        return self.storage.get(key, 0)

    def get_expiry(self, key: str) -> float:
        """Return the time of day at which a count expires."""
        now = time.monotonic()
        return time.time() + self.expirations.get(key, now) - now

    def _forget(self, key: str) -> None:
        self.storage.pop(key, None)
        self.expirations.pop(key, None)
        self.locks.pop(key, None)

    def _run(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            self.sweep()

    def sweep(self) -> None:
        """Forget the counts whose time is over."""
        now = time.monotonic()
        for name, expiry in list(self.expirations.items()):
            if expiry <= now:
                self._forget(name)

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join(_LOOK_SECONDS)
