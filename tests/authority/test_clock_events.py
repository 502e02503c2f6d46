"""The clock gate tells of every change once, watches without requests, and costs little."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.authority.gate_world import MS, Monitor, Open, World, refused
from tsa_core.api import Clock, ClockAnchor, ClockMonitor, ClockVerdict, TimeReading
from tsa_core.authority import ClockChange, ClockGate, ClockState
from tsa_core.testing import wait_until

# -- events -----------------------------------------------------------------------------------------------------


def test_each_change_is_one_event_and_one_line(
    open_gate: Open, world: World, monitor: Monitor, caplog: pytest.LogCaptureFixture
) -> None:
    changes: list[ClockChange] = []
    gate = open_gate()
    gate.subscribe(changes.append)
    with caplog.at_level(logging.INFO, "tsa_core.authority.clock_announcements"):
        gate.status()
        monitor.good()
        for _ in range(5):
            gate.read()
            world.pass_(1)
        monitor.wrong()
        for _ in range(5):
            refused(gate)
        monitor.good()
        gate.read()
    states = [(change.previous.state, change.status.state) for change in changes]
    bad, good = ClockState.UNSYNCHRONISED, ClockState.SYNCHRONISED
    assert states == [(bad, good), (good, bad), (bad, good)]
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3
    assert lines[1].startswith("clock state=unsynchronised previous=synchronised issuing=false offset=")
    assert 'reason="the time servers disagree"' in lines[1]


def test_failing_listener_changes_nothing(open_gate: Open, monitor: Monitor) -> None:
    def fail(_: ClockChange) -> None:
        raise RuntimeError("boom")

    gate = open_gate()
    gate.subscribe(fail)
    monitor.good()
    gate.read()


def test_watch_notices_without_requests_and_listeners_run_on_its_thread() -> None:
    class Wall(Clock):
        def now(self) -> TimeReading:
            return TimeReading(datetime.now(UTC))

    class Flag(ClockMonitor):
        current = ClockVerdict(trusted=True, reason="")

        def start(self, clock: Clock) -> None:
            """Nothing to start."""

        def verdict(self) -> ClockVerdict:
            return self.current

    flag, seen, noticed = Flag(), [], threading.Event()

    def listen(change: ClockChange) -> None:
        seen.append((change.status.state, threading.current_thread().name))
        if change.status.state is ClockState.UNSYNCHRONISED:
            noticed.set()

    gate = ClockGate(Wall(), [flag])
    gate.subscribe(listen)
    gate.start()
    try:
        gate.read()
        flag.current = ClockVerdict(trusted=False, reason="wrong")
        assert noticed.wait(5)
    finally:
        gate.stop()
    assert [name for _, name in seen] == ["clock-gate"] * len(seen)


def test_a_watch_that_could_not_be_started_is_started_by_the_next_look(
    open_gate: Open, monitor: Monitor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    gate, seen = open_gate(), []
    gate.subscribe(lambda change: seen.append(threading.current_thread().name))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        gate.start()
        assert "the clock is not watched between requests: can't start new thread" in caplog.text
        monitor.good()
        gate.read()
        assert seen == [threading.current_thread().name], "whoever notices tells the listeners"
    gate.status()
    try:
        monitor.wrong()
        wait_until(lambda: len(seen) == 2, seconds=10, what="the change without a request")
        assert seen[1] == "clock-gate"
    finally:
        gate.stop()


def test_reading_costs_little_beside_the_clock_itself() -> None:
    class Wall(Clock):
        def now(self) -> TimeReading:
            return TimeReading(datetime.now(UTC))

    class Quiet(ClockMonitor):
        def __init__(self, clock: Clock) -> None:
            self.current = ClockVerdict(
                trusted=True,
                reason="",
                offset=MS,
                uncertainty=MS,
                checked_at=time.monotonic(),
                anchor=ClockAnchor.take(clock),
                valid_for=timedelta(hours=1),
            )

        def start(self, clock: Clock) -> None:
            """Nothing to start."""

        def verdict(self) -> ClockVerdict:
            return self.current

    clock = Wall()
    gate = ClockGate(clock, [Quiet(clock)])

    def measure(function: Callable[[], object]) -> float:
        """Return the least processor time of a call: what other load on the machine adds is not the function's."""
        best = float("inf")
        for _ in range(30):
            started = time.thread_time()
            for _ in range(500):
                function()
            best = min(best, (time.thread_time() - started) / 500)
        return best

    # A few microseconds where one evaluation takes thirty.
    assert measure(gate.read) < 4 * measure(clock.now) + 2e-6
