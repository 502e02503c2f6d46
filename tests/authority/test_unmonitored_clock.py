"""A clock without a monitor: a step beyond the accuracy closes the gate, and what opens it again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.authority.gate_world import MS, World, refused
from tsa_core.authority import ClockGate, ClockReference, ClockState, KernelClock
from tsa_core.authority import clock_reference as module
from tsa_core.config import ClockSettings

SECOND = timedelta(seconds=1)


class Kernel:
    def __init__(self) -> None:
        self.state = KernelClock(
            synchronised=True, leap="none", in_leap_second=False, tai_offset=37, max_error=timedelta(0)
        )

    def __call__(self) -> KernelClock:
        return self.state

    def set(self, **fields: Any) -> None:
        self.state = self.state.replace(**fields)


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


def open_gate(
    world: World, kernel: Kernel | None = None, *, reference: ClockReference | None = None, **table: Any
) -> ClockGate:
    gate = ClockGate(
        world,
        settings=ClockSettings.model_validate(table),
        kernel=kernel,
        reference=reference or ClockReference(of_system=kernel is not None),
    )
    gate.promise("default", SECOND)
    gate.read()
    return gate


@pytest.mark.parametrize("seconds", [1.1, -1.1, 3600, -3600])
def test_a_step_beyond_the_accuracy_closes_with_the_next_request(world: World, kernel: Kernel, seconds: float) -> None:
    gate = open_gate(world, kernel)
    world.pass_(0.3)
    gate.read()
    world.step(seconds)
    assert "the clock was set, and no monitor can tell whether it is right" in refused(gate)
    status = gate.status()
    assert (status.state, status.healthy) == (ClockState.STEPPED, False)
    world.pass_(100_000)
    refused(gate)


def test_a_clock_that_is_set_back_opens_the_gate(world: World, kernel: Kernel) -> None:
    gate = open_gate(world, kernel)
    world.step(3600)
    refused(gate)
    world.pass_(600)
    world.step(-3600)
    assert gate.read().time == world.time
    assert gate.status().state is ClockState.UNMONITORED


def test_small_steps_add_up(world: World, kernel: Kernel) -> None:
    gate = open_gate(world, kernel)
    for _ in range(2):
        world.step(0.45)
        gate.read()
        world.pass_(60)
    world.step(0.45)
    refused(gate)


def test_the_narrowest_accuracy_counts(world: World, kernel: Kernel) -> None:
    gate = open_gate(world, kernel)
    gate.promise("narrow", 10 * MS)
    world.step(0.02)
    refused(gate)


def test_without_any_accuracy_the_step_threshold_counts(world: World, kernel: Kernel) -> None:
    gate = open_gate(world, kernel, step_threshold="50ms")
    gate.promise("default", None)
    world.step(0.04)
    gate.read()
    world.step(0.04)
    refused(gate)


def test_warn_issues_and_says_so(world: World, kernel: Kernel) -> None:
    gate = open_gate(world, kernel, unmonitored_step="warn")
    world.step(3600)
    assert gate.read().time == world.time
    status = gate.status()
    assert (status.state, status.issuing) == (ClockState.STEPPED, True)
    assert "the clock was set" in status.reason


def test_a_reload_does_not_accept_a_step(world: World, kernel: Kernel) -> None:
    before = open_gate(world, kernel)
    world.step(3600)
    refused(before)
    after = ClockGate(world, settings=before.settings, kernel=kernel, reference=ClockReference(of_system=True))
    after.promise("default", SECOND)
    after.continue_from(before)
    refused(after)


def test_the_step_of_a_time_service_that_comes_up_is_its_correction(world: World, kernel: Kernel) -> None:
    kernel.set(synchronised=False)
    gate = open_gate(world, kernel)
    assert "the kernel says that its clock is not synchronised" in gate.status().reason
    world.step(30)
    refused(gate)
    kernel.set(synchronised=True)
    gate.read()
    assert gate.status().reason == "no monitor compares the clock with others"
    # From then on the kernel's word alone accepts no step: whoever sets a clock makes it unsynchronised for a while.
    kernel.set(synchronised=False)
    world.step(30)
    refused(gate)
    kernel.set(synchronised=True)
    refused(gate)


@pytest.mark.parametrize(("announced", "sign"), [(True, 1), (False, 1), (False, -1)])
def test_a_leap_second_is_no_step(world: World, kernel: Kernel, announced: bool, sign: int) -> None:
    world.begin = datetime(2026, 6, 30, 23, 58, 0, tzinfo=UTC)
    gate = open_gate(world, kernel)
    gate.promise("default", 500 * MS)
    kernel.set(leap="insert" if announced else "none")
    gate.status()
    world.pass_(120)
    world.step(-sign)
    kernel.set(leap="none", tai_offset=37 + sign)
    world.pass_(5)
    gate.read()
    world.pass_(3 * 86400)
    gate.read()
    world.step(sign)
    refused(gate)


def test_a_tai_offset_that_is_set_for_the_first_time_is_no_leap_second(world: World, kernel: Kernel) -> None:
    kernel.set(tai_offset=0)
    gate = open_gate(world, kernel)
    kernel.set(tai_offset=37)
    world.pass_(2)
    gate.read()
    assert gate.status().state is ClockState.UNMONITORED


@pytest.mark.parametrize("of_system", [True, False])
def test_only_a_clock_that_is_slewed_apart_from_the_monotonic_one_is_followed(
    world: World, kernel: Kernel, of_system: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SLEWED_ALIKE", True)
    gate = open_gate(world, kernel if of_system else None, drift_ppm=100)
    for _ in range(20):
        world.pass_(1000)
        world.step(0.09)
        if of_system and gate.status().state is ClockState.STEPPED:
            break
        gate.read()
    assert gate.status().state is (ClockState.STEPPED if of_system else ClockState.UNMONITORED)
    world.step(3)
    refused(gate)


def test_processes_that_are_forked_later_count_from_the_same_instant(world: World, kernel: Kernel) -> None:
    shared = ClockReference(of_system=True)
    open_gate(world, kernel, reference=shared)
    world.step(3600)
    replaced_worker = ClockGate(world, kernel=kernel, reference=shared)
    replaced_worker.promise("default", SECOND)
    refused(replaced_worker)
