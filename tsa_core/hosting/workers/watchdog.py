"""Finds workers that hang: a loop of theirs has not beaten for too long."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from tsa_core.hosting.heartbeat import ENDING, WorkerHeartbeats

_MAX_STEP_SECONDS = 1.0


@dataclass
class _Seen:
    """What was seen of the worker of a slot: when, the counts of its loops, and for how long they have not changed."""

    at: float
    counts: list[int] = field(default_factory=list)
    unchanged: list[float] = field(default_factory=list)


class Watchdog:
    """For the parent. A worker may be without a heartbeat for `seconds`, 0: for ever, and end in `ending_seconds`.

    The clock is the parent's monotonic one, and only the time counts in which the parent itself ran: so a machine that
    was suspended, or had no time for the parent either, makes no worker overdue.
    """

    def __init__(self, heartbeats: WorkerHeartbeats, *, seconds: float, ending_seconds: float) -> None:
        self._heartbeats = heartbeats
        self._seconds = seconds
        self._ending_seconds = ending_seconds
        self._seen: dict[int, _Seen] = {}

    def clear(self, slot: int) -> None:
        """Forget the worker that had a slot; the next one is watched as soon as it serves."""
        self._heartbeats.clear(slot)
        self._seen.pop(slot, None)

    def overdue_seconds(self, slot: int) -> float:
        """Return for how long a loop of a worker has not beaten, when that is too long; else 0."""
        now = time.monotonic()
        counts = self._heartbeats.counts(slot)
        seen = self._seen.setdefault(slot, _Seen(now))
        step = min(now - seen.at, _MAX_STEP_SECONDS)
        before = seen.counts or counts
        unchanged = seen.unchanged or [0.0] * len(counts)
        unchanged = [
            passed + step if count and count == former else 0.0
            for passed, count, former in zip(unchanged, counts, before, strict=True)
        ]
        self._seen[slot] = _Seen(now, counts, unchanged)
        if not self._seconds:
            return 0.0
        limit = self._ending_seconds if ENDING in counts else self._seconds
        longest = max(unchanged)
        return longest if longest > limit else 0.0
