"""A clock that was set by a second or more is told, once, whoever sets it and whatever the gate makes of it."""

from __future__ import annotations

import pytest

from tests.authority.gate_world import Monitor, Open, World
from tsa_core.authority import ClockGate, ClockStep


@pytest.fixture
def steps() -> list[ClockStep]:
    return []


@pytest.fixture
def gate(open_gate: Open, monitor: Monitor, steps: list[ClockStep]) -> ClockGate:
    gate = open_gate()
    gate.announcements.of_steps.append(steps.append)
    monitor.good()
    gate.status()
    return gate


@pytest.mark.parametrize("seconds", [1.0, -1.0, 3600.25, -86400.0])
def test_a_step_of_a_second_or_more_is_told_once(
    gate: ClockGate, world: World, steps: list[ClockStep], seconds: float
) -> None:
    world.pass_(7)
    world.step(seconds)
    for _ in range(5):
        gate.status()
        world.pass_(1)
    (step,) = steps
    assert step.seconds == pytest.approx(seconds)
    assert step.time.tzinfo is not None


@pytest.mark.parametrize("seconds", [0.0, 0.999, -0.999])
def test_what_is_shorter_is_not_told(gate: ClockGate, world: World, steps: list[ClockStep], seconds: float) -> None:
    world.step(seconds)
    gate.status()
    assert steps == []


def test_time_that_passes_without_a_look_is_no_step(gate: ClockGate, world: World, steps: list[ClockStep]) -> None:
    world.pass_(86400 * 30)
    gate.status()
    assert steps == []


def test_a_step_during_a_reload_is_told_by_the_new_gate(
    gate: ClockGate, open_gate: Open, world: World, steps: list[ClockStep]
) -> None:
    world.step(5)
    new = open_gate()
    new.announcements.of_steps.append(steps.append)
    new.continue_from(gate)
    new.status()
    assert [step.seconds for step in steps] == [pytest.approx(5)]


@pytest.mark.parametrize("back", [0.0, 60.0], ids=["right", "set back by as much"])
def test_a_clock_is_not_believed_after_a_suspension(
    gate: ClockGate,
    monitor: Monitor,
    world: World,
    steps: list[ClockStep],
    monkeypatch: pytest.MonkeyPatch,
    back: float,
) -> None:
    """The monotonic clock of Linux does not count it: one that was set back by as much seems not to have moved."""
    slept = [0.0]
    monkeypatch.setattr("tsa_core.api.clock._suspended_seconds", lambda: slept[0])
    monitor.good()
    assert gate.status().issuing
    slept[0] = 60.0
    world.step(60.0 - back)
    world.pass_(2)
    assert not gate.status().issuing
    assert [step.seconds for step in steps] == [pytest.approx(-60 if back else 60)]
