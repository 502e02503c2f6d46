"""What holds all requests of a run back while the server asks for it (RFC 9110 10.2.3, RFC 6585 4)."""

from __future__ import annotations

import threading
import time
from typing import Final

_FIRST_PAUSE: Final = 1.0
_LONGEST_GUESS: Final = 30.0


class Gate:
    """Lets requests through, except for as long as an answer said; safe to use from many threads.

    `max_wait` is in seconds, and how long a server may be busy without giving a single timestamp.
    """

    def __init__(self, max_wait: float) -> None:
        self._max_wait = max_wait
        self._lock = threading.Lock()
        self._opens = 0.0
        self._last_good = time.monotonic()
        self._pause = _FIRST_PAUSE
        self.waiting = False
        """Whether somebody is being held back."""

    def wait(self, stop: threading.Event) -> bool:
        """Return True when a request may go, False when `stop` was set before."""
        while not stop.is_set():
            with self._lock:
                left = self._opens - time.monotonic()
                self.waiting = left > 0
            if left <= 0:
                return True
            stop.wait(left)
        return False

    def good(self) -> None:
        """Note that the server gave a timestamp."""
        with self._lock:
            self._last_good = time.monotonic()
            self._pause = _FIRST_PAUSE

    def busy(self, retry_after: float | None, sent: float) -> bool:
        """Note that the server is busy; return whether to ask again.

        `retry_after` is what it said in seconds; without it the pauses are 1, 2, 4, ... up to 30 seconds. `sent` is
        when the request was sent, by time.monotonic(): what was sent before a pause does not make it longer.
        """
        with self._lock:
            now = time.monotonic()
            wait = self._pause if retry_after is None else retry_after
            if now + wait - self._last_good > self._max_wait:
                return False
            if retry_after is None:
                if sent < self._opens:
                    return True
                self._pause = min(2 * self._pause, _LONGEST_GUESS)
            self._opens = max(self._opens, now + wait)
            return True
