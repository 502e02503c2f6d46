"""Counts and durations that requests add to, until they are passed on to prometheus_client.

A histogram of the library takes 1 us for each duration, 3 us when processes share it, and a request updates six
metrics. A tally takes 0.3 us and serves all six.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client import Histogram, Summary

from tsa_core.metrics.families import SECONDS


class Tally:
    """The number of durations, their sum in nanoseconds, and the number in each bucket. Not thread-safe."""

    __slots__ = ("buckets", "count", "total_ns")

    def __init__(self) -> None:
        self.clear()

    def add(self, duration_ns: int) -> None:
        """Add one duration."""
        self.count += 1
        self.total_ns += duration_ns
        self.buckets[bisect_left(_BOUNDS_NS, duration_ns)] += 1

    def add_all(self, durations_ns: Sequence[int]) -> None:
        """Add several durations, at least one."""
        self.count += len(durations_ns)
        self.total_ns += sum(durations_ns)
        buckets = self.buckets
        first = bisect_left(_BOUNDS_NS, min(durations_ns))
        if first == bisect_left(_BOUNDS_NS, max(durations_ns)):  # as those of requests answered together mostly are
            buckets[first] += len(durations_ns)
            return
        for duration_ns in durations_ns:
            buckets[bisect_left(_BOUNDS_NS, duration_ns)] += 1

    def take(self) -> Tally:
        """Return what was added, and clear this tally."""
        taken = Tally()
        taken.count, taken.total_ns, taken.buckets = self.count, self.total_ns, self.buckets
        self.clear()
        return taken

    def clear(self) -> None:
        """Remove everything that was added."""
        self.count = 0
        self.total_ns = 0
        self.buckets = [0] * (len(SECONDS) + 1)

    def add_to_histogram(self, child: Histogram) -> None:
        """Add everything to a histogram of the same buckets.

        Its public method takes one duration at a time. This adds to the two attributes that the method adds to.
        """
        child._sum.inc(self.total_ns / 1e9)
        for value, count in zip(child._buckets, self.buckets, strict=True):
            if count:
                value.inc(count)

    def add_to_summary(self, child: Summary) -> None:
        """Add everything to a summary; see add_to_histogram."""
        child._count.inc(self.count)
        child._sum.inc(self.total_ns / 1e9)


_BOUNDS_NS = tuple(round(bound * 1e9) for bound in SECONDS)
