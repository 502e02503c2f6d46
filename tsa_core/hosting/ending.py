"""Bounds the end of a process: it has ended two seconds after `graceful_timeout`, and says what hung."""

from __future__ import annotations

import _thread
import logging
import math
import os
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from time import monotonic

from tsa_core.host import plugins_at_work

log = logging.getLogger(__name__)

PROCESS_SLACK_SECONDS = 1.5
"""How much later than `graceful_timeout` the process that an operator has started is given up."""
KILL_SLACK_SECONDS = 1.3
"""How much later a worker is killed by its parent."""
WORKER_SLACK_SECONDS = 0.7
"""How much later a worker is given up by itself."""
CLOSING_SHARE = 0.8
"""How much of the time that a process has left its plugins may take to close."""
_LAST_WORDS_SECONDS = 0.4
"""How long the last lines of the log may take when the process is given up: nobody may read it."""
_SECONDS = 10.0
"""How long closing may take in a process that was not told to stop."""


class Ending:
    """Ends this process `slack` seconds after `graceful_timeout`, counted from `begin`, unless `finish` comes before.

    Then `exit_code` and `last_words` are called with whether every request was answered.
    """

    def __init__(
        self,
        graceful: timedelta,
        *,
        slack: float,
        exit_code: Callable[[bool], int],
        last_words: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self.complete = False
        """Whether every request that had arrived was answered; to be set when the last one has been."""
        self._seconds = graceful.total_seconds() + slack
        self._exit_code = exit_code
        self._last_words = last_words
        self._deadline = math.inf
        self._finished = threading.Lock()
        self._finished.acquire()

    def begin(self) -> None:
        """Count from now; only the first call does. Safe in a signal handler."""
        if self._deadline != math.inf:
            return
        self._deadline = monotonic() + self._seconds
        # Not threading.Thread: its locks may be held by the very thread that the signal has interrupted.
        _thread.start_new_thread(self._watch, ())

    def seconds_left(self) -> float:
        """Return how long closing may take from now."""
        return max(0.0, self._deadline - monotonic()) if self._deadline != math.inf else _SECONDS

    def finish(self) -> bool:
        """Say what has not ended, and return whether something has not: a thread of a plugin that hangs.

        The process is not given up any more; the caller ends it.
        """
        self._finished.release()
        lines = plugins_at_work()
        for line in lines:
            log.error("%s; it ends with the process", line)
        return bool(lines)

    def _watch(self) -> None:
        if self._finished.acquire(timeout=max(0.0, self._deadline - monotonic())):
            self._finished.release()
            return
        _thread.start_new_thread(self._give_up, ())
        self._finished.acquire(timeout=_LAST_WORDS_SECONDS)
        os._exit(self._exit_code(self.complete))

    def _give_up(self) -> None:
        """Say what has not ended, and the last words, and let the process end."""
        try:
            lines = plugins_at_work()
            for line in lines:
                log.error("%s; it ends with the process", line)
            if not lines:
                log.error("the end hangs in %s; the process is ended", _where_main_thread_is())
            self._last_words(self.complete)
            logging.shutdown()
        finally:
            self._finished.release()


def _where_main_thread_is() -> str:
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    return f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}" if frame else "the main thread"
