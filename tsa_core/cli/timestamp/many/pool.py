"""Threads that work on many files, and an end in order when somebody presses Ctrl-C."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Generic, TypeVar

from tsa_core.cli import console
from tsa_core.cli.timestamp.many.interruption import Interruption

_T = TypeVar("_T")
_R = TypeVar("_R")
_GRACE: Final = 5.0
"""Seconds for requests that are on their way when the run is interrupted."""
_LOOK: Final = 0.2
"""Seconds after which an interruption is seen while nothing arrives."""
_FAILED: Final = object()


class Pool(Generic[_T, _R]):
    """Calls `work` for each of `items` in threads; an interruption, or its `stop`, ends it after what is worked on.

    `results` yields what came, in the order of arrival. After an interruption nothing new is begun, and what is on its
    way is waited for a few seconds.
    """

    def __init__(self, items: Sequence[_T], work: Callable[[_T], _R], *, jobs: int, interruption: Interruption) -> None:
        self._items = iter(items)
        self._work = work
        self._jobs = min(jobs, len(items))
        self._interruption = interruption
        self._stop = interruption.stop
        self._lock = threading.Lock()
        self._arrived: queue.SimpleQueue[tuple[bool, object]] = queue.SimpleQueue()

    def results(self) -> Iterator[_R]:
        """Yield the results; raises whatever `work` raised first."""
        for number in range(self._jobs):
            # Daemons: one that hangs in a system call must not keep the program from ending.
            threading.Thread(target=self._run, name=f"timestamp-cli-{number}", daemon=True).start()
        working, deadline = self._jobs, None
        while working:
            if self._interruption.happened and deadline is None:
                deadline = time.monotonic() + _GRACE
                console.tell("timestamp-cli: interrupted; waiting a moment for what is on its way")
            try:
                ended, result = self._arrived.get(timeout=_LOOK)
            except queue.Empty:
                if deadline is not None and time.monotonic() > deadline:
                    return
                continue
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
