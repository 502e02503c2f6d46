"""A clock, the time beside it and a monitor, all of which a test moves; and what it asks of a gate."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tsa_core.api import Clock, ClockAnchor, ClockError, ClockMonitor, ClockVerdict, TimeReading
from tsa_core.authority import ClockGate

MS = timedelta(milliseconds=1)
START = datetime(2026, 6, 15, 12, 0, 0, tzinfo=UTC)


class Time:
    """A monotonic clock that a test moves; installed in place of time.monotonic by the fixture `world`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class World(Clock):
    """A wall clock beside the monotonic one: `pass_` moves both, `step` only the wall clock."""

    def __init__(self, ticks: Time) -> None:
        self.ticks = ticks
        self.start = ticks.now
        self.stepped = timedelta(0)
        self.begin = START
        self.failure: Exception | None = None
        self.uncertainty: timedelta | None = None

    @property
    def time(self) -> datetime:
        return self.begin + timedelta(seconds=self.ticks.now - self.start) + self.stepped

    def now(self) -> TimeReading:
        if self.failure is not None:
            raise self.failure
        return TimeReading(self.time, self.uncertainty)

    def pass_(self, seconds: float) -> None:
        self.ticks.now += seconds

    def step(self, seconds: float) -> None:
        self.stepped += timedelta(seconds=seconds)


class Monitor(ClockMonitor):
    """Says what a test makes it say."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.crash: Exception | None = None
        self.current = ClockVerdict(trusted=False, measured=False, reason="not compared yet")

    def start(self, clock: Clock) -> None:
        """Nothing to start."""

    def verdict(self) -> ClockVerdict:
        if self.crash:
            raise self.crash
        return self.current

    def _say(self, **fields: Any) -> None:
        fields.setdefault("anchor", ClockAnchor.take(self.world))
        self.current = ClockVerdict(checked_at=self.world.ticks.now, valid_for=timedelta(seconds=100), **fields)

    def good(self, offset: timedelta = MS, uncertainty: timedelta = 2 * MS, **fields: Any) -> None:
        self._say(trusted=True, reason="", offset=offset, uncertainty=uncertainty, **fields)

    def silent(self) -> None:
        self._say(trusted=False, measured=False, reason="too few time servers answer")

    def wrong(self) -> None:
        self._say(trusted=False, reason="the time servers disagree")


Open = Callable[..., ClockGate]


def refused(gate: ClockGate) -> str:
    with pytest.raises(ClockError) as raised:
        gate.read()
    return str(raised.value)
