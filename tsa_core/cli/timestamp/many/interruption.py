"""Ctrl-C while many files are worked on: the first one ends the run in order, the second one at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self


class Interruption:
    """Sets `stop` at the first SIGINT while it is entered; the second one is a KeyboardInterrupt.

    An exception at any place, as Python raises it by itself, would lose timestamps that are not written yet.
    """

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop
        self.happened = False
        self._before: Any = None

    def __enter__(self) -> Self:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        if self.happened:
            raise KeyboardInterrupt
        self.happened = True
        self.stop.set()
