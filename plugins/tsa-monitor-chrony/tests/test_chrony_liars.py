"""Sources of chronyd that lie: the stated bound holds the truth as long as most of them do not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsa_core.api import ClockAnchor
from tsa_core.builtin.clock import SystemClock
from tsa_core.testing import require_program, wait_until
from tsa_core.testing.chronyd import Chronyd
from tsa_core.testing.ntp_responder import NtpResponder
from tsa_monitor_chrony.bound import bound_of
from tsa_monitor_chrony.chronyc import Report, Source, Tracking
from tsa_monitor_chrony.looks import Looks
from tsa_monitor_chrony.monitor import ChronyMonitor
from tsa_monitor_chrony.options import ChronyOptions

WITHIN = 15.0
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(seconds: float, *, moved: float = 0.0) -> ClockAnchor:
    """The clock so many seconds after noon, after it was set by `moved`."""
    return ClockAnchor(NOON + timedelta(seconds=seconds + moved), 1000.0 + seconds)


def source(offset: float, error: float, *, age: float = 1.0, growth: float = 0.0, state: str = "+") -> Source:
    return Source(
        name=f"{offset}",
        state=state,
        stratum=1,
        recent=True,
        offset=offset,
        error=error,
        age=age,
        growth=growth,
    )


def report(*sources: Source, correction: float = 0.0) -> Report:
    return Report(Tracking(updated_at="1", stratum=2, offset=correction, leap="none"), sources)


def looks(*anchors: ClockAnchor) -> Looks:
    noted = Looks()
    for anchor in anchors:
        noted.note(anchor)
    return noted


_STATES = st.sampled_from("*+-x~")


@settings(deadline=None)
@given(
    error=st.floats(-3, 3),
    correction=st.floats(-0.5, 0.5),
    way=st.floats(0, 1),
    honest=st.lists(
        st.tuples(st.floats(-0.999, 0.999), st.floats(1e-6, 1.5), st.floats(0, 1000), st.floats(-1, 1), _STATES),
        min_size=1,
        max_size=6,
    ),
    lies=st.lists(st.tuples(st.floats(-5, 5), st.floats(1e-6, 1.5), _STATES), max_size=6),
)
def test_the_bound_holds_the_truth_while_most_sources_are_honest(
    error: float,
    correction: float,
    way: float,
    honest: list[tuple[float, float, float, float, str]],
    lies: list[tuple[float, float, str]],
) -> None:
    """`error` is chronyd's clock minus true time; since a measurement, its clock drifted by less than `growth`."""
    told = [
        source(error + share * distance + drift * 1e-5 * age, distance, age=age, growth=1e-5, state=state)
        for share, distance, age, drift, state in honest
    ]
    told += [source(*lie, state=state) for *lie, state in lies[: len(honest) - 1]]
    bound = bound_of(report(*told, correction=correction), looks(at(-2000)), at(0), least=1e-6)
    assert bound.agreed is not None
    assert abs(error + correction - bound.offset) <= bound.uncertainty + 1e-9
    # Until the next look, the system clock is somewhere on its way to chronyd's.
    assert abs(error + way * correction) <= abs(bound.offset) + bound.uncertainty + 1e-9


@settings(deadline=None)
@given(step=st.floats(-0.19, 0.19), moment=st.floats(-99, -1), ages=st.lists(st.floats(1, 90), min_size=3, max_size=5))
def test_a_small_step_since_a_measurement_is_in_the_bound(step: float, moment: float, ages: list[float]) -> None:
    """Somebody sets the clock, right before, by `step`; measurements before do not know of it, later ones do."""
    seen = looks(*(at(second, moved=step if second > moment else 0.0) for second in range(-120, 1)))
    told = [source(step if -age > moment else 0.0, 0.001, age=age) for age in ages]
    bound = bound_of(report(*told), seen, at(0, moved=step), least=1e-6)
    assert bound.agreed is not None
    # The gate adds by how much the clock moved since the anchor.
    offset = bound.offset + bound.anchor.moved(at(0, moved=step))
    assert abs(offset - step) <= bound.uncertainty + 1e-6


@settings(deadline=None)
@given(step=st.floats(-0.19, 0.19), ages=st.lists(st.floats(20, 90), min_size=3, max_size=5))
def test_a_step_that_chronyd_makes_itself_is_in_the_bound(step: float, ages: list[float]) -> None:
    """chronyd corrects its old measurements itself, so that they tell what is true after the step."""
    seen = looks(*(at(second, moved=step if second > -10 else 0.0) for second in range(-120, 1)))
    told = [source(0.0, 0.001, age=age) for age in ages]
    bound = bound_of(report(*told), seen, at(0, moved=step), least=1e-6)
    offset = bound.offset + bound.anchor.moved(at(0, moved=step))
    assert abs(offset) <= bound.uncertainty + 1e-6


def test_the_anchor_is_older_than_every_measurement_that_counts() -> None:
    seen = looks(*(at(second) for second in range(-120, 1)))
    told = [source(0.0, 0.1, age=age) for age in (5, 64, 17)]
    silent = source(0.0, 0.1, age=100, state="?")
    assert bound_of(report(*told, silent), seen, at(0), least=1e-6).anchor == at(-64)


def test_what_is_older_than_an_hour_is_forgotten() -> None:
    seen = looks(*(at(second) for second in range(-9000, 1)))
    assert len(seen._anchors) <= 3602
    assert not bound_of(report(source(0.0, 0.1, age=3601)), seen, at(0), least=1e-6).heard


@pytest.fixture
def responders() -> Iterator[list[NtpResponder]]:
    with ExitStack() as stack:
        yield [stack.enter_context(NtpResponder(host=f"127.0.0.{number}")) for number in (1, 2, 3)]


@pytest.fixture
def table(tmp_path: Path, responders: list[NtpResponder]) -> Iterator[dict[str, Any]]:
    require_program("chronyc", package="chrony")
    first, *others = responders
    with Chronyd(tmp_path / "chronyd", follows=first.port, also=[each.server for each in others]) as running:
        yield {
            "address": "127.0.0.1",
            "port": running.command_port,
            "period": "100ms",
            "max_offset": "10s",
            "min_sources": 2,
        }


def test_a_liar_that_chronyd_believes_does_not_narrow_the_bound(
    table: dict[str, Any], responders: list[NtpResponder]
) -> None:
    """The clock is 1.2 s slow; two honest servers are not certain enough to tell, and one liar confirms it exactly."""
    for honest in responders[:2]:
        honest.offset, honest.root_dispersion = 1.2, 1.3
    monitor = ChronyMonitor(ChronyOptions.model_validate(table))
    monitor.start(SystemClock())
    try:
        wait_until(
            lambda: (
                len(states := {each.name: each.outcome for each in monitor.sources()}) == 3
                and states["127.0.0.3"] == "selected"
                and "no answer" not in states.values()
                and (found := monitor.verdict().offset) is not None
                and abs(found.total_seconds() + 1.2) < 0.2
            ),
            seconds=WITHIN,
            what=f"chronyd selects the liar ({monitor.sources()}, {monitor.verdict()})",
        )
        verdict = monitor.verdict()
        assert verdict.offset is not None
        assert verdict.uncertainty is not None
        assert abs(verdict.offset.total_seconds() + 1.2) < verdict.uncertainty.total_seconds()
        assert verdict.uncertainty.total_seconds() > 1.2
        offsets = [each.offset.total_seconds() for each in monitor.sources() if each.offset is not None]
        assert offsets == pytest.approx([-1.2, -1.2, 0.0], abs=0.05)
    finally:
        monitor.stop()


def test_sources_without_a_majority_close_at_once(table: dict[str, Any], responders: list[NtpResponder]) -> None:
    monitor = ChronyMonitor(ChronyOptions.model_validate(table))
    monitor.start(SystemClock())
    try:
        wait_until(lambda: monitor.verdict().trusted, seconds=WITHIN, what="the sources agree")
        responders[0].offset, responders[1].offset = 2.0, -2.0
        wait_until(
            lambda: monitor.verdict().reason == "the time servers disagree", seconds=WITHIN, what="they disagree"
        )
        assert monitor.verdict().measured
    finally:
        monitor.stop()
