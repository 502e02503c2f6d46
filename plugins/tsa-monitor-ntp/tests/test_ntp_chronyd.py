"""The monitor against real time servers: chronyd on loopback, its time moved by libfaketime."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from tsa_backends.watched_clock import WITHIN, reach
from tsa_core.authority import ClockGate, ClockState
from tsa_core.builtin.clock import SystemClock
from tsa_core.config import ClockSettings
from tsa_core.testing import wait_until
from tsa_core.testing.chronyd import Chronyd
from tsa_monitor_ntp.monitor import NtpMonitor
from tsa_monitor_ntp.options import NtpOptions


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[Chronyd]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Chronyd(tmp_path / str(number))) for number in range(4)]


@pytest.fixture
def gate(servers: list[Chronyd]) -> Iterator[ClockGate]:
    clock = SystemClock()
    monitor = NtpMonitor(
        NtpOptions.model_validate(
            {
                "servers": [server.server for server in servers],
                "period": "200ms",
                "request_timeout": "300ms",
                "max_time_delta": "1s",
                "request_attempts": 1,
            }
        )
    )
    monitor.start(clock)
    gate = ClockGate(clock, [monitor], settings=ClockSettings.model_validate({"max_holdover": "1s"}))
    gate.promise("default", timedelta(seconds=1))
    yield gate
    monitor.stop()


def test_two_of_four_thirty_seconds_wrong_and_right_again(gate: ClockGate, servers: list[Chronyd]) -> None:
    reach(gate, ClockState.SYNCHRONISED)
    servers[0].offset = 30.0
    servers[1].offset = 30.0
    reach(gate, ClockState.UNSYNCHRONISED, "the time servers disagree")
    servers[0].offset = servers[1].offset = 0.0
    reach(gate, ClockState.SYNCHRONISED)


def test_three_of_four_stopped_and_started_again(gate: ClockGate, servers: list[Chronyd]) -> None:
    reach(gate, ClockState.SYNCHRONISED)
    for server in servers[1:]:
        server.stop()
    reach(gate, ClockState.HOLDOVER)
    reach(gate, ClockState.UNSYNCHRONISED)
    for server in servers[1:]:
        server.start()
    reach(gate, ClockState.SYNCHRONISED)


def test_all_of_them_agree_that_the_clock_is_wrong(gate: ClockGate, servers: list[Chronyd]) -> None:
    reach(gate, ClockState.SYNCHRONISED)
    for server in servers:
        server.offset = -7.0
    wait_until(lambda: "differs from the time servers" in gate.status().reason, seconds=WITHIN, what="7 s are noticed")


def test_unsynchronised_chronyd_is_not_believed(tmp_path: Path) -> None:
    with Chronyd(tmp_path, synchronised=False) as server:
        monitor = NtpMonitor(
            NtpOptions(
                servers=[server.server],
                num_servers=1,
                server_threshold=1,
                period=timedelta(seconds=0.2),
                request_timeout=timedelta(seconds=0.5),
                request_attempts=1,
            )
        )
        monitor.start(SystemClock())
        try:
            wait_until(
                lambda: "not synchronised" in monitor.sources()[0].outcome, seconds=WITHIN, what="stratum 0, leap 3"
            )
            assert not monitor.verdict().trusted
        finally:
            monitor.stop()
