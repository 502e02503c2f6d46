"""Calls a plugin in threads, and waits for each call no longer than a limit."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from tsa_core.api import TsaError
from tsa_core.authority.causes import Cause

log = logging.getLogger(__name__)

T = TypeVar("T")

DEFAULT_SECONDS = 5.0
DEFAULT_THREADS = 64


class Watched(Protocol):
    """A call that somebody else watches: who gives it up calls `lost`, and `found` when it has returned after all."""

    def begin(self, calls: PluginCalls) -> None:
        """Say that the plugin is called now."""

    @property
    def hanging(self) -> PluginCalls | None:
        """The plugin that did not return in time, once the call was given up."""


class _Call:
    """A call on its way: its result, or what it raised, once `returned` is true."""

    __slots__ = ("done", "error", "make", "overdue", "result", "returned")

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make
        self.result: Any = None
        self.error: BaseException | None = None
        self.returned = False
        self.overdue = False
        self.done = threading.Lock()
        self.done.acquire()


class _Worker:
    """A thread, and the call that it makes next."""

    __slots__ = ("call", "go")

    def __init__(self) -> None:
        self.call: _Call | None = None
        self.go = threading.Lock()
        self.go.acquire()


class PluginCalls:
    """The calls of one plugin that may wait; `what` names the plugin in errors. Thread-safe.

    A call that has not returned after `seconds` is given up: its caller gets `error(text)`, and its thread is left
    behind. From then on callers get the error at once, but for one call at a time that tries again, until a call
    returns. Meanwhile the cause `hangs` is active. At most `threads` calls are in progress, those given up included.
    """

    def __init__(
        self,
        what: str,
        *,
        seconds: float,
        hangs: Cause,
        error: Callable[[str], TsaError] = TsaError,
        threads: int = DEFAULT_THREADS,
    ) -> None:
        self.what = what
        self.seconds = seconds
        self.hangs = hangs
        self._error = error
        self._threads = threads
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._started = 0
        self._overdue = 0
        self._suspect = False
        self._trying: _Call | Watched | None = None
        self._closed = False

    def call(self, make: Callable[[], T]) -> T:
        """Return `make()`, which another thread calls; what it raises is raised here."""
        call = _Call(make)
        self._begin(call)
        if not call.done.acquire(timeout=self.seconds) and self._give_up(call):
            raise self.overdue()
        if call.error is not None:
            raise call.error
        result: T = call.result
        return result

    def call_here(self, make: Callable[[], T], watched: Watched) -> T:
        """Return `make()`, called in this thread: whoever watches gives it up in time."""
        if self._suspect or self._overdue >= self._threads:
            with self._lock:
                self._try(watched)
        watched.begin(self)
        try:
            return make()
        finally:
            if self._suspect:
                with self._lock:
                    if watched.hanging is None:
                        self._end_trial(watched)
                        self._recover(in_time=True)

    def overdue(self) -> TsaError:
        """Return the error for a call that has not returned in time."""
        return self._error(f"{self.what} has not returned within {self.seconds:g} s")

    def lost(self, watched: Watched) -> None:
        """Count a call that somebody else made, in another thread than these, and has given up."""
        with self._lock:
            self._end_trial(watched)
            self._lose()

    def found(self) -> None:
        """Say that such a call has returned after all."""
        with self._lock:
            self._overdue -= 1
            self._recover(in_time=False)

    def close(self) -> None:
        """End the idle threads, and the others when their calls return."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.go.release()

    def _begin(self, call: _Call) -> None:
        with self._lock:
            self._try(call)
            if self._idle:
                worker = self._idle.pop()
                worker.call = call
                worker.go.release()
            elif self._started >= self._threads:
                self._end_trial(call)
                raise self._many_hang()
            else:
                self._start(call)

    def _try(self, call: _Call | Watched) -> None:
        """Raise the error of a plugin that hangs, unless this call is the one that tries again."""
        if self._suspect and self._trying is not None:
            raise self._error(f"{self.what} hangs")
        if self._overdue >= self._threads:
            raise self._many_hang()
        if self._suspect:
            self._trying = call

    def _end_trial(self, call: _Call | Watched) -> None:
        if self._trying is call:
            self._trying = None

    def _many_hang(self) -> TsaError:
        return self._error(f"{self.what} hangs: {self._threads} calls have not returned")

    def _start(self, call: _Call) -> None:
        worker = _Worker()
        worker.call = call
        worker.go.release()
        thread = threading.Thread(target=self._work, args=(worker,), name="plugin-call", daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            self._end_trial(call)
            raise self._error(f"{self.what} cannot be called, for want of a thread: {error}") from None
        self._started += 1

    def _give_up(self, call: _Call) -> bool:
        """Leave a call to its thread; returns False when it has returned meanwhile."""
        with self._lock:
            if call.returned:
                return False
            call.overdue = True
            self._end_trial(call)
            self._lose()
        return True

    def _lose(self) -> None:
        self._overdue += 1
        if not self._suspect:
            log.error("%s has not returned within %g s", self.what, self.seconds)
        self._suspect = True
        self.hangs.set(f"it has not returned within {self.seconds:g} s")

    def _recover(self, *, in_time: bool) -> None:
        """Trust the plugin again, when a call has returned in time, or all those that were given up have returned."""
        if self._suspect and (in_time or not self._overdue):
            log.warning("%s answers again", self.what)
            self._suspect = False
            self.hangs.clear()

    def _work(self, worker: _Worker) -> None:
        while True:
            worker.go.acquire()
            call = worker.call
            if call is None:
                return
            worker.call = None
            try:
                call.result = call.make()
            except BaseException as error:  # noqa: BLE001 - raised where the result is waited for
                call.error = error
            closed = self._returned(call, worker)
            call.done.release()
            if closed:
                return

    def _returned(self, call: _Call, worker: _Worker) -> bool:
        with self._lock:
            call.returned = True
            self._end_trial(call)
            self._overdue -= call.overdue
            self._recover(in_time=not call.overdue)
            if not self._closed:
                self._idle.append(worker)
            else:
                self._started -= 1
            return self._closed
