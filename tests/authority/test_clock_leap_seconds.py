"""The clock gate around a leap second: no token whose time could mean two moments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.authority.gate_world import Monitor, Open, World
from tsa_core.api import ClockError
from tsa_core.authority import ClockGate, ClockState, KernelClock

# -- leap seconds -----------------------------------------------------------------------------------------------

MIDNIGHT = datetime(2026, 7, 1, tzinfo=UTC)


def before_midnight(world: World, seconds: float) -> None:
    world.begin = MIDNIGHT - timedelta(seconds=seconds)
    world.start = world.ticks.now


def issues(gate: ClockGate) -> bool:
    try:
        gate.read()
    except ClockError:
        return False
    return True


@pytest.mark.parametrize("warning", ["insert", "delete"])
def test_pause_for_the_two_seconds(open_gate: Open, world: World, monitor: Monitor, warning: str) -> None:
    before_midnight(world, 10)
    monitor.good(leap=warning)
    gate = open_gate()
    labels: list[tuple[str, bool]] = []
    followed = False
    for _ in range(160):
        world.pass_(0.1)
        boundary = MIDNIGHT if warning == "insert" else MIDNIGHT - timedelta(seconds=1)
        if not followed and world.time >= boundary:
            # What the kernel does: it shows 23:59:59 twice, or not at all.
            world.step(-1 if warning == "insert" else 1)
            followed = True
        labels.append((world.time.strftime("%H:%M:%S"), issues(gate)))
    closed = {label for label, issued in labels if not issued}
    opened = {label for label, issued in labels if issued}
    assert closed == ({"23:59:59", "00:00:00"} if warning == "insert" else {"00:00:00"})
    assert {"23:59:57", "00:00:01", "00:00:03"} <= opened
    assert not closed & opened
    assert gate.status().state is ClockState.SYNCHRONISED, "a leap second is no step"


def test_clock_that_does_not_follow_the_leap_second_is_refused(open_gate: Open, world: World, monitor: Monitor) -> None:
    before_midnight(world, 10)
    monitor.good(leap="insert")
    gate = open_gate()
    assert issues(gate)
    while world.time < MIDNIGHT + timedelta(seconds=10):
        world.pass_(0.1)
        assert issues(gate) is (world.time < MIDNIGHT - timedelta(seconds=1)), world.time
    assert gate.status().state is ClockState.STEPPED
    monitor.good(offset=timedelta(seconds=1))
    assert gate.status().offset == timedelta(seconds=1)


def test_stop_waits_for_a_measurement_after_the_leap_second(open_gate: Open, world: World, monitor: Monitor) -> None:
    before_midnight(world, 70)
    monitor.good(leap="insert")
    gate = open_gate(leap="stop")
    assert issues(gate)
    world.pass_(15)
    assert not issues(gate)
    assert gate.status().state is ClockState.LEAP
    world.pass_(56)
    world.step(-1)
    world.pass_(20)
    assert not issues(gate)
    monitor.good()
    assert issues(gate)


def test_ignore_does_not_pause(open_gate: Open, world: World, monitor: Monitor) -> None:
    before_midnight(world, 1)
    monitor.good(leap="insert")
    gate = open_gate(leap="ignore")
    for _ in range(30):
        world.pass_(0.1)
        if world.time >= MIDNIGHT and not world.stepped:
            world.step(-1)
        assert issues(gate)


def test_kernel_announces_too(world: World) -> None:
    kernel = KernelClock(
        synchronised=True, leap="insert", in_leap_second=False, tai_offset=37, max_error=timedelta(seconds=1)
    )
    gate = ClockGate(world, kernel=lambda: kernel)
    before_midnight(world, 1.5)
    assert issues(gate)
    world.pass_(1)
    assert not issues(gate)
    world.pass_(1)
    assert not issues(gate)
    world.pass_(1)
    assert issues(gate)


def test_leap_second_that_only_the_kernel_knew_is_no_step(open_gate: Open, world: World, monitor: Monitor) -> None:
    offsets = [37]

    def kernel() -> KernelClock:
        return KernelClock(
            synchronised=True, leap="none", in_leap_second=False, tai_offset=offsets[0], max_error=timedelta(0)
        )

    before_midnight(world, 5)
    monitor.good()
    gate = open_gate(kernel=kernel)
    assert issues(gate)
    world.pass_(5)
    world.step(-1)
    offsets[0] = 38
    world.pass_(4)
    assert issues(gate)
    assert gate.status().state is ClockState.SYNCHRONISED


def test_warning_left_over_after_the_leap_second_means_nothing(open_gate: Open, world: World, monitor: Monitor) -> None:
    world.begin = MIDNIGHT + timedelta(hours=3)
    monitor.good(leap="insert")
    assert issues(open_gate())


def test_no_reading_ever_has_second_60(open_gate: Open, world: World, monitor: Monitor) -> None:
    before_midnight(world, 2)
    monitor.good(leap="insert")
    gate = open_gate(leap="ignore")
    for _ in range(40):
        world.pass_(0.1)
        if issues(gate):
            assert gate.read().time.second < 60
