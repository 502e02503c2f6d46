"""A bounded pool that serves those who wait in the order in which they came."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class _Waiter(Generic[T]):
    __slots__ = ("handed", "item")

    def __init__(self) -> None:
        self.handed = threading.Lock()
        self.handed.acquire()
        self.item: T


class FairPool(Generic[T]):
    """Hands out items, the one given back last first, and to nobody before those who wait already.

    queue.LifoQueue is unfair: a thread that gives an item back and takes one again at once is faster than a waiter
    that must wake up, so that under full load some requests would wait until their time is over.
    """

    def __init__(self, items: Iterable[T]) -> None:
        self._lock = threading.Lock()
        self._idle = list(items)
        self._waiting: deque[_Waiter[T]] = deque()

    def take(self, timeout: float) -> T:
        """Return an item; raises TimeoutError after `timeout` seconds."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
            waiter: _Waiter[T] = _Waiter()
            self._waiting.append(waiter)
        if not waiter.handed.acquire(timeout=max(0.0, timeout)):
            with self._lock:
                if waiter in self._waiting:
                    self._waiting.remove(waiter)
                    raise TimeoutError
            # It was handed over in the very moment that the time ended.
        return waiter.item

    def give(self, item: T) -> None:
        """Give an item back."""
        with self._lock:
            if self._waiting:
                waiter = self._waiting.popleft()
                waiter.item = item
                waiter.handed.release()
            else:
                self._idle.append(item)

    def take_idle(self) -> list[T]:
        """Return all items that nobody has, and keep none of them."""
        with self._lock:
            idle, self._idle = self._idle, []
        return idle
