"""Runs an I/O loop in one thread at a time; when that thread waits in the application, another one goes on.

waitress's loop and granian's run so. The thread that calls `run` looks 25 times a second whether the I/O thread is
still in the section in which it was at the look before. Then a thread that stands by takes over. So nobody waits longer
than a tenth of a second, and a request costs no change of threads. A thread that was overtaken finishes its requests,
and ends.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from tsa_core.hosting.system_limits import NO_THREAD
from tsa_core.http.dispatching import Overtaken

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.04
_MAX_OVERTAKEN = 16
"""Threads that hang at the same time; the next one that hangs stops the server's loop."""
_WARNING_PAUSE_SECONDS = 10.0


class Role(Protocol):
    """What the I/O thread runs of the application. It marks that as a section, which another thread can empty."""

    section: list[None]
    """Not empty while the I/O thread runs the application; a new list for each time."""

    def take_over(self, section: list[None]) -> bool:
        """Take the role of the I/O thread if it is still in this section."""

    def give_up(self) -> None:
        """Refuse the requests of a batch in which a plugin hangs, and those behind it."""


class _StandBy:
    """A thread that waits for the role of the I/O thread."""

    def __init__(self, work: Callable[[], None], number: int) -> None:
        self._go = threading.Lock()
        self._go.acquire()
        self._work: Callable[[], None] | None = work
        self.thread = threading.Thread(target=self._run, name=f"io-{number}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        self._go.acquire()
        if self._work is not None:
            self._work()

    def begin(self) -> None:
        """Let it work."""
        self._go.release()

    def dismiss(self) -> None:
        """Let it end."""
        self._work = None
        self._go.release()


class IoThreads:
    """Calls `loop` until it returns or raises; it is called again, in another thread, when it was overtaken."""

    def __init__(self, role: Role, loop: Callable[[], None]) -> None:
        self._role = role
        self._loop = loop
        self._seen: list[None] = []
        self._numbers = 0
        self._stand_by: _StandBy | None = None
        self._overtaken: list[threading.Thread] = []
        self._current: threading.Thread | None = None
        self._error: BaseException | None = None
        self._ended = threading.Lock()
        self._ended.acquire()
        self._next_warning = 0.0

    @property
    def overtaken(self) -> int:
        """The number of threads that were overtaken and have not ended yet."""
        self._overtaken = [each for each in self._overtaken if each.is_alive()]
        return len(self._overtaken)

    def run(self, deadline: Callable[[], float]) -> bool:
        """Run the loop until it ends, and raise what it raised; returns False when `deadline()` was passed before that.

        The deadline is a time of the monotonic clock, infinite before the server is told to stop.
        """
        self._take_on()
        if self._stand_by is None:
            raise RuntimeError(NO_THREAD)
        self._go_on()
        try:
            while not self._ended.acquire(timeout=_LOOK_SECONDS):
                self._look()
                if monotonic() > deadline():
                    return False
        finally:
            if self._stand_by is not None:
                self._stand_by.dismiss()
        if self._error is not None:
            raise self._error
        return True

    def _look(self) -> None:
        self._role.give_up()
        if self._stand_by is None:
            self._take_on()
        section = self._role.section
        if section and section is self._seen and self._may_overtake() and self._role.take_over(section):
            if self._current is not None:
                self._overtaken.append(self._current)
            self._go_on()
        self._seen = section

    def _may_overtake(self) -> bool:
        if self._stand_by is None:
            return False
        if self.overtaken < _MAX_OVERTAKEN:
            return True
        now = monotonic()
        if now >= self._next_warning:
            self._next_warning = now + _WARNING_PAUSE_SECONDS
            log.critical(
                "%d threads hang in plugins that say that they do not wait (latency = local), and so does the one that "
                "answers requests; /debug/pprof/threads shows where ([server] profiling)",
                _MAX_OVERTAKEN,
            )
        return False

    def _go_on(self) -> None:
        """Let the thread that stands by begin, and get another one."""
        assert self._stand_by is not None  # noqa: S101 - the callers look
        self._current = self._stand_by.thread
        self._stand_by.begin()
        self._stand_by = None
        self._take_on()

    def _take_on(self) -> None:
        """Start a thread that stands by; without one nobody takes over, and the next look tries again."""
        self._numbers += 1
        with contextlib.suppress(RuntimeError, MemoryError):
            self._stand_by = _StandBy(self._work, self._numbers)

    def _work(self) -> None:
        try:
            self._loop()
        except Overtaken:
            return
        except BaseException as error:  # noqa: BLE001 - raised by `run`
            self._error = error
        self._ended.release()
