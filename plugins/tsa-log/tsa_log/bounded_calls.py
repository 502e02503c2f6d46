"""Calls of a library that knows no deadline, with one over all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_AT_ONCE: Final = 8
_MOST_LEFT: Final = 64


class _Round(Generic[T]):
    """The calls of one round, and their results."""

    def __init__(self, calls: Sequence[Callable[[float], T]], deadline: float) -> None:
        self.results: dict[int, T] = {}
        self.failure: BaseException | None = None
        self.changed = threading.Condition()
        self._calls = calls
        self._deadline = deadline
        self._next = 0

    def work(self) -> None:
        """Make one call after the other until none is left, one has failed or the time is over."""
        while (number := self._take()) is not None:
            try:
                result = self._calls[number](max(self._deadline - monotonic(), 0.001))
            except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
                with self.changed:
                    self.failure = self.failure or error
                    self.changed.notify_all()
                return
            with self.changed:
                self.results[number] = result
                self.changed.notify_all()

    def _take(self) -> int | None:
        with self.changed:
            if self.failure is not None or self._next == len(self._calls) or monotonic() > self._deadline:
                return None
            self._next += 1
            return self._next - 1

    @property
    def over(self) -> bool:
        return self.failure is not None or len(self.results) == len(self._calls)


class BoundedCalls:
    """Makes calls in threads, several at once, and leaves those behind that do not end in time.

    A limit on each read of a socket would not do: a peer that sends an octet a second never breaks it. A call that was
    left behind may still have its effect; whoever makes it again must be able to bear that.
    """

    def __init__(self) -> None:
        self._left: list[threading.Thread] = []
        self._lock = threading.Lock()

    def run(self, calls: Sequence[Callable[[float], T]], *, seconds: float) -> list[T]:
        """Return what the calls return, each of which is told how many seconds are left.

        Raises what the first one raises that fails, and TimeoutError.
        """
        round_ = _Round(calls, monotonic() + seconds)
        threads = [
            threading.Thread(target=round_.work, name="log-store", daemon=True)
            for _ in range(min(_AT_ONCE, len(calls)))
        ]
        with self._lock:
            self._left = [thread for thread in self._left if thread.is_alive()]
            if len(self._left) >= _MOST_LEFT:
                raise TimeoutError(f"{len(self._left)} requests still wait for their answers")
            for thread in threads:
                thread.start()
            self._left += threads
        with round_.changed:
            over = round_.changed.wait_for(lambda: round_.over, seconds)
        if round_.failure is not None:
            raise round_.failure
        if not over:
            raise TimeoutError(f"no answer within {seconds:g} s")
        return [round_.results[number] for number in range(len(calls))]
