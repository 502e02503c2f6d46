"""What plugins of tests wait at, so that they hang for as long as a test wants."""

from __future__ import annotations

import threading


class Gate:
    """Lets calls pass while `go` is set, as it is at first; counts those that have to wait."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self._waiting = threading.Semaphore(0)

    def pass_through(self) -> None:
        """Return at once while `go` is set, else when it is set."""
        if not self.go.is_set():
            self._waiting.release()
            self.go.wait(60)

    def wait_for(self, count: int = 1) -> None:
        """Return when so many more calls have had to wait."""
        for _ in range(count):
            assert self._waiting.acquire(timeout=60)
