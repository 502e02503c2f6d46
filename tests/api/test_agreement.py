"""The hull of what a majority covers: it holds the truth whoever lies, as long as most do not."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from tsa_core.api import agree


def around(*middles: float, by: float = 0.5) -> list[tuple[float, float]]:
    return [(middle - by, middle + by) for middle in middles]


def test_one_liar_among_four_is_outvoted() -> None:
    agreed = agree(around(0.0, 0.1, 30.0, -0.1))
    assert agreed is not None
    assert agreed.members == (0, 1, 3)
    assert (agreed.low, agreed.high) == (-0.4, 0.4)


def test_two_against_two_is_no_majority() -> None:
    assert agree(around(0.0, 0.1, 30.0, 30.1)) is None


def test_two_of_three_are_a_majority() -> None:
    agreed = agree(around(0.0, 0.1, 30.0))
    assert agreed is not None
    assert agreed.votes == 2


def test_two_that_contradict_are_none() -> None:
    assert agree(around(0.0, 5.0)) is None


def test_nobody_agrees_on_nothing() -> None:
    assert agree([]) is None


def test_touching_intervals_share_their_border() -> None:
    agreed = agree([(0.0, 1.0), (1.0, 2.0)])
    assert agreed is not None
    assert (agreed.low, agreed.high, agreed.votes) == (1.0, 1.0, 2)


def test_stretches_that_a_majority_covers_are_spanned() -> None:
    # The wide one agrees with either of the others, so the truth may be at both ends.
    agreed = agree([(0.0, 10.0), (0.0, 1.0), (9.0, 10.0)])
    assert agreed is not None
    assert (agreed.low, agreed.high, agreed.votes) == (0.0, 10.0, 2)


def test_a_liar_within_honest_intervals_does_not_narrow_the_bound() -> None:
    # Two honest servers, certain to 1.4 s, whose common stretch is 0.1 to 1.5; the truth is 0.1, the liar says 1.402.
    agreed = agree([(-1.3, 1.5), (0.1, 2.9), (1.4019, 1.4021)])
    assert agreed is not None
    assert agreed.votes == 3
    assert (agreed.low, agreed.high) == (0.1, 1.5)


_edges = st.floats(-100, 100, allow_nan=False)
_intervals = st.lists(
    st.tuples(_edges, st.floats(0, 50, allow_nan=False)).map(lambda t: (t[0], t[0] + t[1])), max_size=8
)


@given(
    truth=_edges,
    honest=st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5)), min_size=1, max_size=6),
    lies=_intervals,
    order=st.randoms(use_true_random=False),
)
def test_the_truth_is_inside_while_the_honest_are_the_majority(
    truth: float, honest: list[tuple[float, float]], lies: list[tuple[float, float]], order: random.Random
) -> None:
    intervals = [(truth - below, truth + above) for below, above in honest] + lies[: len(honest) - 1]
    order.shuffle(intervals)
    agreed = agree(intervals)
    assert agreed is not None
    assert agreed.low <= truth <= agreed.high


@given(intervals=_intervals)
def test_the_hull_is_that_of_all_points_with_a_majority(intervals: list[tuple[float, float]]) -> None:
    majority = len(intervals) // 2 + 1

    def votes(point: float) -> int:
        return sum(low <= point <= high for low, high in intervals)

    # Where the number of votes grows or falls there is an edge, and edges are part of their intervals.
    edges = {edge for interval in intervals for edge in interval}
    covered = [edge for edge in edges if votes(edge) >= majority]
    agreed = agree(intervals)
    assert (agreed is None) == (not covered)
    if agreed is not None:
        assert (agreed.low, agreed.high) == (min(covered), max(covered))
        assert agreed.votes == max(map(votes, edges))
