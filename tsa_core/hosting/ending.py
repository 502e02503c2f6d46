"""Bounds the end of a process: it has ended two seconds after `graceful_timeout`, and says what hung."""

from __future__ import annotations

import _thread
import logging
import math
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from time import monotonic, sleep

from tsa_core.host import plugins_at_work
from tsa_core.hosting.answered import Answered
from tsa_core.logs import prepare_log, write_waiting_lines

log = logging.getLogger(__name__)

PROCESS_SLACK_SECONDS = 1.5
"""How much later than `graceful_timeout` the process that an operator has started is given up."""
KILL_SLACK_SECONDS = 1.3
"""How much later a worker is killed by its parent."""
WORKER_SLACK_SECONDS = 0.7
"""How much later a worker is given up by itself."""
CLOSING_SHARE = 0.8
"""How much of the time that a process has left its plugins may take to close."""
_LAST_WORDS_SECONDS = 0.3
"""How long the last lines of the log may take when the process is given up: nobody may read it."""
_LAST_RESORT_SECONDS = 0.1
"""How long the thread that ends the process may take to write them itself: a lock may be held for ever."""
_SECONDS = 10.0
"""How long closing may take in a process that was not told to stop."""


class Ending:
    """Ends this process `slack` seconds after `graceful_timeout`, counted from `begin`, unless `finish` comes before.

    Then `exit_code` and `last_words` are called with what is known of the requests that had arrived.
    """

    def __init__(
        self,
        graceful: timedelta,
        *,
        slack: float,
        exit_code: Callable[[Answered], int],
        last_words: Callable[[Answered], None] = lambda _: None,
    ) -> None:
        self.answered = Answered.NOT_ALL
        """Whether every request that had arrived was answered; to be set when the last one has been."""
        self._seconds = graceful.total_seconds() + slack
        self._exit_code = exit_code
        self._last_words = last_words
        self._deadline = math.inf
        self._lines: list[str] | None = None
        self._said = 0
        self._finished = threading.Lock()
        self._finished.acquire()

    def begin(self) -> None:
        """Count from now; only the first call does. Safe in a signal handler."""
        if self._deadline != math.inf:
            return
        self._deadline = monotonic() + self._seconds
        # Not threading.Thread: its locks may be held by the very thread that the signal has interrupted. Where there is
        # no thread to be had, nothing ends the process by force; the signal must stop it all the same.
        with suppress(RuntimeError, MemoryError):
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
        if self._is_finished_before((self._deadline + monotonic()) / 2):
            return
        # Whatever hangs is likely to hang on, and the first record of a process imports what renders it.
        _thread.start_new_thread(prepare_log, ())
        if self._is_finished_before(self._deadline):
            return
        _thread.start_new_thread(self._give_up, ())
        if not self._finished.acquire(timeout=_LAST_WORDS_SECONDS):
            # A machine without time for the threads of the log has some for this one, now.
            _thread.start_new_thread(self._exit, (_LAST_RESORT_SECONDS,))
            with suppress(Exception):
                self._say_rest()
                write_waiting_lines()
        self._exit()

    def _is_finished_before(self, moment: float) -> bool:
        if finished := self._finished.acquire(timeout=max(0.0, moment - monotonic())):
            self._finished.release()
        return finished

    def _exit(self, after: float = 0.0) -> None:
        for _ in range(10):  # in parts: a process that got no CPU gets some for the other thread, too
            sleep(after / 10)
        os._exit(self._exit_code(self.answered))

    def _give_up(self) -> None:
        """Say what has not ended, and the last words, and let the process end."""
        try:
            self._say_rest()
            logging.shutdown()
        finally:
            self._finished.release()

    def _say_rest(self) -> None:
        """Log what has not ended, and the last words, as far as no other thread has."""
        if (lines := self._lines) is None:
            lines = [f"{line}; it ends with the process" for line in plugins_at_work()]
            lines = self._lines = lines or [f"the end hangs in {_where_main_thread_is()}; the process is ended"]
        while self._said < len(lines):
            log.error("%s", lines[self._said])
            self._said += 1
        if self._said == len(lines):
            self._last_words(self.answered)
            self._said += 1


def _where_main_thread_is() -> str:
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    return f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}" if frame else "the main thread"
