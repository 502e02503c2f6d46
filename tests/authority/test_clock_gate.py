"""The clock gate: in which state of the clock tokens are issued, and what is said when not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.authority.gate_world import MS, START, Monitor, Open, World, refused
from tsa_core.api import Clock, ClockAnchor, ClockError, ClockVerdict, TimeReading
from tsa_core.authority import ClockGate, ClockState

# -- synchronised, unsynchronised -------------------------------------------------------------------------------


def test_nobody_measured_yet_is_refused(open_gate: Open) -> None:
    gate = open_gate()
    assert "not compared yet" in refused(gate)
    assert gate.status().state is ClockState.UNSYNCHRONISED


def test_without_monitors_the_clock_is_believed(world: World) -> None:
    gate = ClockGate(world)
    world.uncertainty = 3 * MS
    assert gate.read() == TimeReading(START, 3 * MS)
    world.step(3600)
    assert gate.read().time == START + timedelta(hours=1)
    assert gate.status().state is ClockState.UNMONITORED


def test_bound_covers_offset_uncertainty_and_age(open_gate: Open, world: World, monitor: Monitor) -> None:
    monitor.good(offset=-5 * MS, uncertainty=2 * MS)
    gate = open_gate(drift_ppm=100)
    first = gate.read()
    assert first.time == START
    assert first.uncertainty is not None
    assert 7 * MS <= first.uncertainty <= 9 * MS
    world.pass_(60)
    later = gate.read().uncertainty
    assert later is not None
    assert 13 * MS <= later <= 15 * MS
    assert gate.status().offset == -5 * MS


def test_found_wrong_closes_at_the_next_request_and_good_opens(open_gate: Open, monitor: Monitor) -> None:
    monitor.good()
    gate = open_gate()
    gate.read()
    monitor.wrong()
    assert refused(gate) == "the time cannot be trusted now: the time servers disagree"
    monitor.good()
    gate.read()


def test_every_monitor_must_trust(open_gate: Open, world: World) -> None:
    one, other = Monitor(world), Monitor(world)
    one.good(uncertainty=5 * MS)
    other.good(uncertainty=50 * MS)
    gate = open_gate(one, other)
    bound = gate.read().uncertainty
    assert bound is not None
    assert bound > 50 * MS, "the widest bound counts"
    other.wrong()
    refused(gate)


def test_crashing_monitor_closes(open_gate: Open, monitor: Monitor) -> None:
    monitor.good()
    gate = open_gate()
    gate.read()
    monitor.crash = RuntimeError("boom")
    assert "a clock monitor has failed" in refused(gate)
    assert "boom" not in refused(gate)
    monitor.crash = None
    gate.read()


def test_crashing_clock_closes_and_recovers(open_gate: Open, world: World, monitor: Monitor) -> None:
    monitor.good()
    gate = open_gate()
    gate.read()
    world.failure = ClockError("no satellites")
    assert refused(gate) == "no satellites"
    world.failure = RuntimeError("boom")
    assert refused(gate) == "the time cannot be read now"
    world.failure = None
    gate.read()


def test_dead_monitor_closes_by_the_age_of_its_verdict(open_gate: Open, world: World, monitor: Monitor) -> None:
    monitor.good()
    gate = open_gate()
    world.pass_(99)
    gate.read()
    world.pass_(2)
    assert "a clock monitor has stopped working" in refused(gate)
    assert gate.status().state is ClockState.UNSYNCHRONISED


def test_verdict_that_says_nothing_of_its_life_ages_too(open_gate: Open, world: World, monitor: Monitor) -> None:
    monitor.current = ClockVerdict(trusted=True, reason="", checked_at=world.ticks.now)
    gate = open_gate(max_verdict_age="30s")
    gate.read()
    world.pass_(31)
    refused(gate)


def test_clock_that_nothing_watches_is_read_for_tokens_only() -> None:
    class Counting(Clock):
        readings = 0

        def now(self) -> TimeReading:
            self.readings += 1
            return TimeReading(START)

    clock = Counting()
    gate = ClockGate(clock)
    gate.start()
    try:
        assert [gate.read().time for _ in range(3)] == [START] * 3
        assert clock.readings == 3
    finally:
        gate.stop()


def test_failing_clock_without_monitors_is_refused_and_not_healthy(world: World) -> None:
    gate = ClockGate(world)
    world.failure = ClockError("no satellites")
    assert refused(gate) == "no satellites"
    assert not gate.status().healthy
    world.failure = None
    gate.read()
    assert gate.status().healthy


# -- holdover ---------------------------------------------------------------------------------------------------


def test_holdover_within_its_limit(open_gate: Open, world: World, monitor: Monitor) -> None:
    monitor.good()
    gate = open_gate(max_holdover="10m", accuracy=timedelta(seconds=1))
    gate.read()
    for _ in range(9):
        world.pass_(60)
        monitor.silent()
        gate.read()
        assert gate.status().state is ClockState.HOLDOVER
    world.pass_(61)
    assert "too few time servers answer" in refused(gate)
    monitor.good()
    gate.read()
    assert gate.status().state is ClockState.SYNCHRONISED


def test_holdover_ends_when_drift_may_exceed_the_accuracy(open_gate: Open, world: World, monitor: Monitor) -> None:
    monitor.good()
    gate = open_gate(max_holdover="1d", drift_ppm=1000, accuracy=100 * MS)
    gate.read()
    for _ in range(3):
        world.pass_(30)
        monitor.silent()
        gate.read()
    world.pass_(30)
    monitor.silent()
    assert "accuracy" in refused(gate)


def test_no_holdover_on_a_clock_that_was_found_wrong(open_gate: Open, monitor: Monitor) -> None:
    monitor.good()
    gate = open_gate()
    gate.read()
    monitor.wrong()
    refused(gate)
    monitor.silent()
    refused(gate)


def test_no_holdover_from_nothing(open_gate: Open, monitor: Monitor) -> None:
    monitor.silent()
    refused(open_gate())


# -- steps ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.3, -0.3, 3600, -3600])
def test_step_closes_within_one_request(open_gate: Open, world: World, monitor: Monitor, seconds: float) -> None:
    monitor.good()
    gate = open_gate()
    gate.read()
    world.pass_(0.5)
    gate.read()
    world.step(seconds)
    assert "the clock was set" in refused(gate)
    assert gate.status().state is ClockState.STEPPED
    monitor.good()
    assert gate.read().time == world.time


def test_step_during_a_measurement_is_noticed(open_gate: Open, world: World, monitor: Monitor) -> None:
    began = ClockAnchor.take(world)
    world.pass_(0.1)
    world.step(5)
    monitor.good(anchor=began)
    gate = open_gate()
    assert "the clock was set" in refused(gate)


def test_step_that_is_taken_back_is_none(open_gate: Open, world: World, monitor: Monitor) -> None:
    monitor.good()
    gate = open_gate()
    world.step(5)
    refused(gate)
    world.step(-5)
    gate.read()


def test_small_jump_counts_as_offset(open_gate: Open, world: World, monitor: Monitor) -> None:
    monitor.good(offset=timedelta(0))
    gate = open_gate()
    gate.read()
    world.step(0.15)
    bound = gate.read().uncertainty
    assert bound is not None
    assert 150 * MS <= bound <= 160 * MS
    assert gate.status().offset == 150 * MS


def test_small_jumps_do_not_add_up_unseen(open_gate: Open, world: World, monitor: Monitor) -> None:
    monitor.good()
    gate = open_gate()
    gate.read()
    for _ in range(2):
        world.pass_(1)
        world.step(0.15)
    refused(gate)


def test_step_in_holdover_closes(open_gate: Open, world: World, monitor: Monitor) -> None:
    monitor.good()
    gate = open_gate()
    monitor.silent()
    gate.status()
    monitor.good()
    gate.read()
    monitor.silent()
    gate.read()
    world.step(1)
    refused(gate)
    monitor.silent()
    assert "the clock was set" in refused(gate)


# -- the stated accuracy ----------------------------------------------------------------------------------------


def test_offset_beyond_the_accuracy_closes(open_gate: Open, monitor: Monitor) -> None:
    monitor.good(offset=990 * MS, uncertainty=20 * MS)
    gate = open_gate(accuracy=timedelta(seconds=1))
    assert "accuracy" in refused(gate)
    assert gate.status().uncovered == ("default",)
    monitor.good(offset=900 * MS, uncertainty=20 * MS)
    gate.read()


def test_a_drift_of_500_ppm_lets_no_token_exceed_its_accuracy(open_gate: Open, world: World, monitor: Monitor) -> None:
    """With the defaults. The clock is measured and corrected once a minute, and drifts by 30 ms in between."""
    gate = open_gate(accuracy=10 * MS)
    granted = outside = 0
    for second in range(600):
        drifted = timedelta(microseconds=500) * (second % 60)
        if second % 60 == 0:
            monitor.good(offset=timedelta(0), uncertainty=MS)
        try:
            gate.read()
        except ClockError:
            pass
        else:
            granted += 1
            outside += drifted > 10 * MS
        world.pass_(1)
    assert granted > 100
    assert outside == 0


def test_a_wider_profile_keeps_issuing(open_gate: Open, monitor: Monitor) -> None:
    monitor.good(offset=500 * MS)
    gate = open_gate(accuracy=timedelta(seconds=1))
    gate.promise("narrow", 100 * MS)
    gate.read()
    status = gate.status()
    assert (status.state, status.uncovered, status.healthy) == (ClockState.SYNCHRONISED, ("narrow",), False)


def test_widening_leaves_the_gate_open(open_gate: Open, monitor: Monitor) -> None:
    monitor.good(offset=timedelta(seconds=3))
    gate = open_gate(accuracy=timedelta(seconds=1), widen_accuracy=True)
    bound = gate.read().uncertainty
    assert bound is not None
    assert bound > timedelta(seconds=3)


# -- warn -------------------------------------------------------------------------------------------------------


def test_warn_issues_whatever_the_state(open_gate: Open, world: World, monitor: Monitor) -> None:
    gate = open_gate(on_failure="warn", accuracy=timedelta(seconds=1))
    gate.read()
    monitor.wrong()
    assert gate.read().uncertainty is None
    monitor.good()
    gate.read()
    world.step(5)
    gate.read()
    status = gate.status()
    assert (status.state, status.issuing, status.healthy) == (ClockState.STEPPED, True, True)
