"""Where the true offset of a clock is, as long as most of the time servers that answered do not lie.

Every server gives an interval that holds the true offset, if the server is right. When more than half of the servers
are right, more than half of the intervals cover the true offset. So it is within the hull of all points that at least
n // 2 + 1 of n intervals cover, whatever the other servers say.

The point with the most votes, which Marzullo's algorithm returns, proves less. A lying server can choose an interval
within those of some right servers: its own place then has the most votes, although the true offset is elsewhere.
RFC 5905 11.2.1 has the same weakness, because its search begins by assuming that no server lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Where the true offset is, in seconds, and the positions of the servers whose intervals reach there.

    `votes` is the largest number of intervals that share one point.
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
    """Return the hull of all points that more than half of the intervals cover, None when there is no such point."""
    majority = len(intervals) // 2 + 1
    # At one point, an interval that begins there comes before one that ends there: touching is sharing.
    edges = sorted([(low, 0) for low, _ in intervals] + [(high, 1) for _, high in intervals])
    votes = count = 0
    low = high = 0.0
    for point, ends in edges:
        if ends:
            if count == majority:
                high = point
            count -= 1
            continue
        count += 1
        if count == majority and votes < majority:
            low = point
        votes = max(votes, count)
    if votes < majority:
        return None
    members = tuple(i for i, (start, stop) in enumerate(intervals) if start <= high and stop >= low)
    return Agreement(low=low, high=high, votes=votes, members=members)
