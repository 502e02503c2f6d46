"""What a majority of time servers agrees on: the intersection of their intervals.

Marzullo's algorithm as NTP uses it (RFC 5905 11.2.1): every server gives an interval that holds the true offset, if it
is right. The point that most intervals share is shared by all servers that are right, as long as they are the majority.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Where the true offset is, in seconds, and the positions of the servers whose intervals reach there.

    `votes` is how many of them share one point.
    """

    low: float
    high: float
    votes: int
    members: tuple[int, ...]

    @property
    def offset(self) -> float:
        """The middle."""
        return (self.low + self.high) / 2

    @property
    def uncertainty(self) -> float:
        """How far the true offset can be from the middle."""
        return (self.high - self.low) / 2


def agree(intervals: Sequence[tuple[float, float]]) -> Agreement | None:
    """Return what more than half of the intervals agree on, None when no point has a majority.

    Where several stretches are shared by equally many, the result spans them all: any may be the true one.
    """
    # At one point, an interval that begins there comes before one that ends there: touching is sharing.
    edges = sorted([(low, 0) for low, _ in intervals] + [(high, 1) for _, high in intervals])
    best = count = 0
    low = high = 0.0
    for point, ends in edges:
        if not ends:
            count += 1
            if count > best:
                best, low = count, point
            continue
        if count == best:
            high = point
        count -= 1
    if 2 * best <= len(intervals):
        return None
    members = tuple(i for i, (start, stop) in enumerate(intervals) if start <= high and stop >= low)
    return Agreement(low=low, high=high, votes=best, members=members)
