"""Marzullo's intersection: what a majority has in common, and when there is none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tsa_monitor_ntp.agreement import agree


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


def test_equally_shared_stretches_are_spanned() -> None:
    # The wide one agrees with either of the others, so the truth may be at both ends.
    agreed = agree([(0.0, 10.0), (0.0, 1.0), (9.0, 10.0)])
    assert agreed is not None
    assert (agreed.low, agreed.high, agreed.votes) == (0.0, 10.0, 2)


_edges = st.floats(-100, 100, allow_nan=False)
_intervals = st.lists(
    st.tuples(_edges, st.floats(0, 50, allow_nan=False)).map(lambda t: (t[0], t[0] + t[1])), max_size=8
)


@given(truth=_edges, errors=st.lists(st.floats(-5, 5), min_size=1, max_size=6), lies=_intervals)
def test_the_truth_is_inside_while_the_honest_are_the_majority(
    truth: float, errors: list[float], lies: list[tuple[float, float]]
) -> None:
    honest = [(truth + error - abs(error), truth + error + abs(error)) for error in errors]
    # Rounding may put the truth an ulp outside.
    honest = [(low - 1e-9, high + 1e-9) for low, high in honest]
    lies = lies[: max(0, len(honest) - 1)]
    agreed = agree(honest + lies)
    assert agreed is not None
    if agreed.votes == len(honest) and not any(low <= truth <= high for low, high in lies):
        # As many voices as the honest have: then the honest point is among the spanned.
        assert agreed.low <= truth <= agreed.high


@given(intervals=_intervals)
def test_votes_are_those_of_the_most_crowded_point(intervals: list[tuple[float, float]]) -> None:
    most = max((sum(low <= point <= high for low, high in intervals) for point, _ in intervals), default=0)
    agreed = agree(intervals)
    assert (agreed is None) == (2 * most <= len(intervals))
    if agreed is not None:
        assert agreed.votes == most
        assert agreed.low <= agreed.high
