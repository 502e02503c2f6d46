"""Heartbeats: each loop that answers requests says that it still runs.

A loop that hangs, in a signer that is not as local as it says for example, says nothing. A worker's parent then
replaces the worker (WorkerHeartbeats). Where there is one process, the service manager restarts it, if it watches
(ServiceHeartbeat; `WatchdogSec=` of systemd).
"""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Iterator
from enum import IntEnum
from typing import Protocol

from tsa_core.hosting.notify import notify_watchdog

BEAT_SECONDS = 0.5
"""How often a loop beats, at least."""

_COUNT = struct.Struct("=Q")
ENDING = 2**64 - 1


class Loop(IntEnum):
    """The loops of a process that answer requests."""

    WAITRESS = 0
    GRANIAN = 1


class Heartbeat(Protocol):
    """What the loops of one process call."""

    def beat(self, loop: Loop) -> None:
        """Say that a loop runs. One that has begun to must go on, until `end`."""

    def end(self) -> None:
        """Say that the process ends; its loops beat no more."""


class NoHeartbeat:
    """For a server that nobody watches."""

    def beat(self, loop: Loop) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


class ServiceHeartbeat:
    """Tells the service manager that all loops of this process run; when one does not, it is told nothing."""

    def __init__(self) -> None:
        self._last: dict[Loop, float] = {}

    def beat(self, loop: Loop) -> None:
        """Say that a loop runs."""
        now = time.monotonic()
        self._last[loop] = now
        if all(now - last <= 4 * BEAT_SECONDS for last in self._last.values()):
            notify_watchdog()

    def end(self) -> None:
        """Say nothing more is to be expected; the service manager has a limit of its own for a stop."""


class WorkerHeartbeats:
    """The heartbeats of all workers, in memory that they share with their parent; made before the first fork."""

    def __init__(self, count: int) -> None:
        self._memory = mmap.mmap(-1, max(1, count) * len(Loop) * _COUNT.size)

    def of(self, slot: int) -> _WorkerHeartbeat:
        """In the worker of a slot: return what its loops call."""
        return _WorkerHeartbeat(self._memory, slot * len(Loop) * _COUNT.size)

    def clear(self, slot: int) -> None:
        """Forget the worker that had a slot, before another gets it."""
        for position in self._positions(slot):
            _COUNT.pack_into(self._memory, position, 0)

    def counts(self, slot: int) -> list[int]:
        """Return how often each loop of a worker has beaten: 0 when it never did, ENDING when the worker ends."""
        return [_COUNT.unpack_from(self._memory, position)[0] for position in self._positions(slot)]

    def _positions(self, slot: int) -> Iterator[int]:
        return iter(range(slot * len(Loop) * _COUNT.size, (slot + 1) * len(Loop) * _COUNT.size, _COUNT.size))


class _WorkerHeartbeat:
    """What the loops of one worker call. Each has a counter of its own, so they need no lock."""

    def __init__(self, memory: mmap.mmap, offset: int) -> None:
        self._memory = memory
        self._offset = offset
        self._counts = [0] * len(Loop)
        self._ended = False

    def beat(self, loop: Loop) -> None:
        if not self._ended:
            self._counts[loop] += 1
            self._write(loop, self._counts[loop])

    def end(self) -> None:
        self._ended = True
        for loop in Loop:
            self._write(loop, ENDING)

    def _write(self, loop: Loop, count: int) -> None:
        _COUNT.pack_into(self._memory, self._offset + loop * _COUNT.size, count)
