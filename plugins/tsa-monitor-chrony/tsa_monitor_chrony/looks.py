"""The clock of the last hour: whether somebody has set it since one of chronyd's sources was asked."""

from __future__ import annotations

from collections import deque

from tsa_core.api import ClockAnchor

SPAN_SECONDS = 3600.0
_APART_SECONDS = 1.0


class Looks:
    """Stores an anchor of the clock every second."""

    def __init__(self) -> None:
        self._anchors: deque[ClockAnchor] = deque()

    def note(self, now: ClockAnchor) -> None:
        """Store the clock of now, and forget what is too old."""
        if not self._anchors or now.monotonic - self._anchors[-1].monotonic >= _APART_SECONDS:
            self._anchors.append(now)
        while len(self._anchors) > 1 and now.monotonic - self._anchors[1].monotonic >= SPAN_SECONDS:
            self._anchors.popleft()

    def before(self, age: float, now: ClockAnchor) -> ClockAnchor:
        """Return the last anchor that is older than `age` seconds; the first one when none is."""
        found = self._anchors[0]
        for anchor in self._anchors:
            if now.monotonic - anchor.monotonic < age:
                break
            found = anchor
        return found

    def moved_since(self, anchor: ClockAnchor, now: ClockAnchor) -> tuple[float, float]:
        """Return by how much the clock was set back and forward, at most, between any moment since and now."""
        since = [each for each in self._anchors if each.monotonic >= anchor.monotonic]
        back = min((each.moved(now) - each.error - now.error for each in since), default=0.0)
        forward = max((each.moved(now) + each.error + now.error for each in since), default=0.0)
        return min(0.0, back), max(0.0, forward)
