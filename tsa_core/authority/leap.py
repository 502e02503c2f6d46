"""Leap seconds: which one is near, and when no token may be issued because of it.

A positive leap second is 23:59:60. POSIX time and datetime cannot express it: the kernel shows 23:59:59 twice. No token
ever states second 60: RFC 3161 does not need it, and many clients refuse it. Around the leap second no token is issued.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from tsa_core.api import ClockAnchor, LeapWarning
from tsa_core.values import Value

_SECOND = timedelta(seconds=1)
_SIGNS = {"insert": 1, "delete": -1}
_UNCLEAR_SECONDS = 0.9
"""How long before and after the leap second it is unknown whether a clock has applied it; less than `paused` takes."""


class LeapSecond(Value):
    """A leap second before `midnight`, 00:00:00 UTC; `sign` is 1 for an inserted second, -1 for a deleted one."""

    midnight: datetime
    sign: int

    def _boundary(self, anchor: ClockAnchor) -> float:
        """Return the monotonic time at which the clock of `anchor`, if not adjusted, would have to be set."""
        boundary = self.midnight if self.sign > 0 else self.midnight - _SECOND
        return anchor.monotonic + (boundary - anchor.time).total_seconds()

    def moved(self, anchor: ClockAnchor, now: ClockAnchor) -> float:
        """Return by how many seconds the clock was off between `anchor` and `now`, with regard to the leap second.

        A clock that applied the leap second was not off. One that ignored it is off by a second from then on.
        """
        moved = anchor.moved(now)
        since = now.monotonic - self._boundary(anchor)
        if anchor.time >= self.midnight or since < -_UNCLEAR_SECONDS:
            return moved
        followed = moved + self.sign
        if abs(since) <= _UNCLEAR_SECONDS:
            return min(moved, followed, key=abs)
        return followed

    def is_past(self, anchor: ClockAnchor) -> bool:
        """Whether a measurement that began at `anchor` was made after the leap second."""
        return anchor.time >= self.midnight + _SECOND

    def paused(self, time: datetime) -> bool:
        """Whether `time` is one of the two seconds that the leap second makes ambiguous."""
        return self.midnight - _SECOND <= time < self.midnight + _SECOND


def announced_leap(warnings: Iterable[LeapWarning], now: datetime) -> LeapSecond | None:
    """Return the leap second that the warnings announce, at the end of `now`'s UTC month (ITU-R TF.460).

    On the first day of a month a warning still means the month before, because it is withdrawn late.
    """
    signs = {_SIGNS[warning] for warning in warnings if warning != "none"}
    if len(signs) != 1 or now.day == 1:
        return None
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return LeapSecond(midnight=(first + timedelta(days=32)).replace(day=1), sign=signs.pop())


def kernel_made_leap(change_of_tai: int, now: datetime) -> LeapSecond | None:
    """Return the leap second that the kernel has just inserted or deleted, known by the change of its TAI offset."""
    if abs(change_of_tai) != 1:
        return None
    midnight = (now + timedelta(hours=12)).replace(hour=0, minute=0, second=0, microsecond=0)
    return LeapSecond(midnight=midnight, sign=change_of_tai)
