"""What tests of clock monitors share: a monitor below a gate, and what they wait for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import timedelta
from typing import Any, Generic, Self, TypeVar

import pytest

from tsa_core.api import Clock, ClockMonitor
from tsa_core.authority import ClockGate, ClockState
from tsa_core.builtin.clock import SystemClock
from tsa_core.config import ClockSettings
from tsa_core.testing import ClockMonitorContract, ProviderContract, wait_until

WITHIN = 20.0
"""Seconds, for a busy machine; nothing is judged by them."""
MonitorT = TypeVar("MonitorT", bound=ClockMonitor)
SettingsTable = Callable[..., dict[str, Any]]


class Watches(Generic[MonitorT]):
    """Starts monitors, each below a gate that promises 1 s; a context manager that stops them.

    `make` makes a monitor of a table of settings, and `table` that table, with what a test wants different.
    """

    def __init__(self, make: Callable[[dict[str, Any]], MonitorT], table: SettingsTable) -> None:
        self._make = make
        self._table = table
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def start(
        self, clock: Clock | None = None, *, gate: Mapping[str, Any] | None = None, **more: Any
    ) -> tuple[MonitorT, ClockGate]:
        """Start a monitor; `gate` are the settings of `[clock]`, `more` those of the monitor."""
        clock = clock or SystemClock()
        monitor = self._make(self._table(**more))
        self._opened.callback(monitor.stop)
        monitor.start(clock)
        above = ClockGate(clock, [monitor], settings=ClockSettings.model_validate(gate or {}))
        above.promise("default", timedelta(seconds=1))
        return monitor, above


def reach(gate: ClockGate, state: ClockState, reason: str = "") -> None:
    """Wait for a state whose reason, at the same time, holds these words."""

    def reached() -> bool:
        status = gate.status()
        return status.state is state and reason in status.reason

    wait_until(reached, seconds=WITHIN, what=f"{state} {reason!r} ({gate.status()})")


def believed(monitor: ClockMonitor, used: list[bool]) -> None:
    """Wait for a round in which every server answers in time, and these are believed.

    On a machine that is busy, an answer now and then comes too late for its round.
    """

    def states() -> list[tuple[str, bool | None]]:
        return [(report.outcome, report.used) for report in monitor.sources()]

    wanted = [("answered", each) for each in used]
    wait_until(lambda: states() == wanted, seconds=WITHIN, what=f"{wanted} ({states()})")


class TimeServersProviderContract(ProviderContract):
    """What the provider of a monitor of time servers must fulfil; override `plugin`."""

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {"servers": ["a", "b", "c", "d"]}


class TimeServersContract(ClockMonitorContract):
    """What a monitor of time servers must fulfil; override `plugin` and `blind_monitor`, and have a fixture `table`."""

    @pytest.fixture
    def options(self, table: SettingsTable) -> Mapping[str, Any]:
        return table()

    @pytest.fixture
    def secrets(self, table: SettingsTable) -> list[str]:
        return ["127.0.0.1", *(server.rpartition(":")[2] for server in table()["servers"])]
