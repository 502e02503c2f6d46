"""Threads that work on many files, and an end in order when somebody presses Ctrl-C."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Generic, TypeVar

from tsa_core.cli import console

_T = TypeVar("_T")
_R = TypeVar("_R")
_GRACE: Final = 5.0
"""Seconds for requests that are on their way when the run is interrupted."""
_FAILED: Final = object()


class Pool(Generic[_T, _R]):
    """Calls `work` for each of `items` in threads; `stop` ends it after what is being worked on.

    `results` yields what came, in the order of arrival. After the first Ctrl-C nothing new is begun, what is on its way
    is waited for a few seconds, and `interrupted` is set; the second one is a KeyboardInterrupt.
    """

    def __init__(self, items: Sequence[_T], work: Callable[[_T], _R], *, jobs: int, stop: threading.Event) -> None:
        self._items = iter(items)
        self._work = work
        self._jobs = min(jobs, len(items))
        self._stop = stop
        self._lock = threading.Lock()
        self._arrived: queue.SimpleQueue[tuple[bool, object]] = queue.SimpleQueue()
        self.interrupted = False

    def results(self) -> Iterator[_R]:
        """Yield the results; raises whatever `work` raised first."""
        for number in range(self._jobs):
            # Daemons: one that hangs in a system call must not keep the program from ending.
            threading.Thread(target=self._run, name=f"timestamp-cli-{number}", daemon=True).start()
        working, deadline = self._jobs, None
        while working:
            try:
                ended, result = self._arrived.get(timeout=None if deadline is None else deadline - time.monotonic())
            except KeyboardInterrupt:
                if self.interrupted:
                    raise
                self.interrupted = True
                self._stop.set()
                deadline = time.monotonic() + _GRACE
                console.tell("timestamp-cli: interrupted; waiting a moment for what is on its way")
                continue
            except (queue.Empty, ValueError):
                return
            if isinstance(result, BaseException):
                self._stop.set()
                raise result
            if ended:
                working -= 1
            else:
                yield result  # type: ignore[misc] # what `work` returned

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                with self._lock:
                    item = next(self._items, _FAILED)
                if item is _FAILED:
                    break
                self._arrived.put((False, self._work(item)))  # type: ignore[arg-type] # not the mark of the end
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            self._arrived.put((False, error))
        self._arrived.put((True, None))
