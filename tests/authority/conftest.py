"""Fixtures of the clock gate's tests."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.authority.gate_world import Monitor, Open, Time, World
from tsa_core.api import ClockMonitor
from tsa_core.authority import ClockGate
from tsa_core.config import ClockSettings


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    ticks = Time()
    monkeypatch.setattr("tsa_core.authority.gate._monotonic", ticks.monotonic)
    monkeypatch.setattr("tsa_core.api.clock.time", ticks)
    return World(ticks)


@pytest.fixture
def monitor(world: World) -> Monitor:
    return Monitor(world)


@pytest.fixture
def open_gate(world: World, monitor: Monitor) -> Open:
    def make(*monitors: ClockMonitor, kernel: Any = None, accuracy: timedelta | None = None, **table: Any) -> ClockGate:
        gate = ClockGate(world, monitors or [monitor], settings=ClockSettings.model_validate(table), kernel=kernel)
        gate.promise("default", accuracy)
        return gate

    return make
