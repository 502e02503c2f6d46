"""Keeps the connections of several workers even.

Workers share one listening socket, so a worker that is stopped or dead delays nobody who connects. But whoever wakes
first takes all that have connected by then, and clients that keep their connections stay with it: one worker does the
work of all. So each worker publishes, in memory that all share, how many connections it has (decision 279).

waitress's loop leaves connections to others while it has more of them, for two milliseconds at most: then it takes them
itself, because the others may be busy or stopped. granian accepts in native code, where nothing can be left. A worker
that has too many all the same lets some clients connect again: replies to them say `Connection: close`.
"""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Callable
from enum import IntEnum
from typing import TypeAlias

_ENTRY = struct.Struct("=dQ")
"""When a worker has published, by the monotonic clock, which is the same in all processes; and how many connections."""
_STALE_SECONDS = 2.0
"""A worker that has published nothing for longer hangs, or is dead. Loops publish twice in a second."""
_SLACK = 4
"""Counts may differ by this, and by an eighth, before clients are let go."""
_BATCH = 8
"""Connections that may be accepted above the least: where each has one request, a turn of the loop answers so many."""
_BRIEF_BATCH = 16
"""The same where connections end with their first reply: they give no worker more than others (decision 301)."""
_DEFERRAL_SECONDS = 0.002
ACCEPTED_AT_ONCE = 16
"""Connections that one turn of a loop accepts, at most."""


class Acceptor(IntEnum):
    """The listeners of a process, each of which has connections of its own to share."""

    WAITRESS = 0
    GRANIAN_TLS = 1
    GRANIAN_PLAIN = 2


Balances: TypeAlias = "Callable[[Acceptor], Balance]"
"""Returns the balance of a listener of one worker."""


class WorkerBalances:
    """The counts of all workers; made before the first fork."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._memory = mmap.mmap(-1, count * len(Acceptor) * _ENTRY.size)

    def of(self, slot: int) -> Balances:
        """In the worker of a slot: return what its listeners ask."""
        return lambda acceptor: Balance(self._memory, slot, range(acceptor * self._count, (acceptor + 1) * self._count))


class Balance:
    """What one listener of a worker publishes, and asks before it accepts. For one thread.

    `positions` are those of the same listener of all workers in the memory that they share.
    """

    def __init__(self, memory: mmap.mmap, slot: int, positions: range) -> None:
        self._memory = memory
        self._mine = positions[slot] * _ENTRY.size
        self._others = [each * _ENTRY.size for each in positions if each != positions[slot]]
        self._deferred_until = 0.0
        self._resumed = False
        self._batch = _BATCH
        self._before = self._accepted = 0

    def publish(self, connections: int) -> None:
        """Say how many connections this worker has."""
        _ENTRY.pack_into(self._memory, self._mine, time.monotonic(), connections)

    def surplus(self, connections: int) -> int:
        """Return how many connections this worker has above what would be even; 0 or less when it may have more."""
        oldest = time.monotonic() - _STALE_SECONDS
        entries = [_ENTRY.unpack_from(self._memory, offset) for offset in self._others]
        others: list[int] = [count for published, count in entries if published > oldest]
        if not others:
            return -ACCEPTED_AT_ONCE
        least = min(others)
        return connections - least - _SLACK - least // 8

    def to_let_go(self, connections: int) -> int:
        """Return how many clients should connect again: half of what is too many, because some will come back."""
        return max(0, (self.surplus(connections) + 1) // 2)

    # -- for loops that accept --------------------------------------------------------------------------------------

    def room(self, connections: int) -> int:
        """Return how many connections to accept now; with 0, a deferral begins."""
        if self._resumed:
            return ACCEPTED_AT_ONCE  # nobody has taken what waited
        if self._accepted:
            brief = self._accepted >= _BATCH and connections - self._before <= self._accepted // 2
            self._batch = _BRIEF_BATCH if brief else _BATCH
            self._accepted = 0
        room = min(ACCEPTED_AT_ONCE, self._batch - _SLACK - self.surplus(connections))
        if room <= 0:
            self._deferred_until = time.monotonic() + _DEFERRAL_SECONDS
            return 0
        return room

    def accepted(self, before: int, count: int) -> None:
        """Say how many connections were accepted, and how many this worker had `before`.

        When most of a batch have ended until more is accepted, the next batch may be larger.
        """
        self._before, self._accepted = before, count

    def deferral_seconds(self) -> float:
        """Return for how long others are to accept what waits; 0 or less when this worker may."""
        return self._deferred_until - time.monotonic() if self._deferred_until else 0.0

    def resume(self) -> bool:
        """Say, once for each deferral, that it is over. To be called before each turn of the loop.

        A turn may take longer than the deferral that began in it. The turn after it takes what waits, however long it
        reads before that; so it must not wait for what is still to come.
        """
        self._resumed = bool(self._deferred_until) and self.deferral_seconds() <= 0
        if self._resumed:
            self._deferred_until = 0.0
        return self._resumed
