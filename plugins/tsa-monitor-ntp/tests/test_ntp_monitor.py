"""Rounds over real UDP: the contract, majorities, servers that die and come back, and the gate above."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest
from prometheus_client import REGISTRY

from tsa_backends.watched_clock import WITHIN, TimeServersContract, TimeServersProviderContract, believed, reach
from tsa_core.api import ClockMonitor, ConfigError
from tsa_core.authority import ClockState
from tsa_core.builtin.clock import SystemClock
from tsa_core.testing import OffsetClock, wait_until
from tsa_core.testing.ntp_responder import NtpResponder
from tsa_monitor_ntp import plugin as ntp_plugin
from tsa_monitor_ntp.monitor import NtpMonitor
from tsa_monitor_ntp.options import NtpOptions

from .ntp_world import Watch, rounds


class TestProvider(TimeServersProviderContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return ntp_plugin


class TestMonitor(TimeServersContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return ntp_plugin

    @pytest.fixture
    def blind_monitor(
        self, responders: list[NtpResponder], open_monitor: Callable[[], ClockMonitor]
    ) -> ClockMonitor | None:
        for responder in responders:
            responder.silent = True
        return open_monitor()


def test_right_clock_issues_with_the_measured_bound(watch: Watch) -> None:
    monitor, gate = watch()
    reach(gate, ClockState.SYNCHRONISED)
    reading = gate.read()
    assert reading.uncertainty is not None
    assert timedelta(0) < reading.uncertainty < timedelta(milliseconds=500)
    believed(monitor, [True] * 4)


def test_three_good_and_one_liar_stay_synchronised(responders: list[NtpResponder], watch: Watch) -> None:
    responders[2].offset = 30.0
    monitor, gate = watch()
    reach(gate, ClockState.SYNCHRONISED)
    rounds(responders, 3)
    believed(monitor, [True, True, False, True])
    reach(gate, ClockState.SYNCHRONISED)
    offset = gate.status().offset
    assert offset is not None
    assert abs(offset) < timedelta(milliseconds=500)


def test_two_and_two_do_not(responders: list[NtpResponder], watch: Watch) -> None:
    _, gate = watch()
    reach(gate, ClockState.SYNCHRONISED)
    responders[0].offset = responders[1].offset = 30.0
    reach(gate, ClockState.UNSYNCHRONISED, "the time servers disagree")
    responders[0].offset = responders[1].offset = 0.0
    reach(gate, ClockState.SYNCHRONISED)


def test_a_server_of_two_names_has_one_vote() -> None:
    """A liar whose address two names lead to would outvote an honest server."""
    with NtpResponder(offset=30.0) as liar, NtpResponder() as honest:
        names = [liar.server, f"127.1:{liar.port}", honest.server]
        table = {"servers": names, "num_servers": 3, "period": "100ms", "max_time_delta": "1h"}
        monitor = NtpMonitor(NtpOptions.model_validate({**table, "server_threshold": 2}))
        monitor.start(SystemClock())
        try:
            wait_until(lambda: monitor.verdict().checked_at > 0, seconds=WITHIN, what="the first round")
            assert (monitor.verdict().trusted, monitor.verdict().reason) == (False, "the time servers disagree")
            assert max(report.outcome for report in monitor.sources()).startswith("the same server as 127.")
        finally:
            monitor.stop()
        monitor = NtpMonitor(NtpOptions.model_validate({**table, "server_threshold": 3}))
        monitor.start(SystemClock())
        try:
            wait_until(lambda: monitor.verdict().checked_at > 0, seconds=WITHIN, what="the first round")
            assert monitor.verdict().reason == "too few different time servers answer"
            assert not monitor.verdict().measured
        finally:
            monitor.stop()


def test_a_drift_closes_the_gate_within_a_period_and_its_end_opens_it(
    responders: list[NtpResponder], watch: Watch
) -> None:
    _, gate = watch()
    reach(gate, ClockState.SYNCHRONISED)
    for offset, state in ((0.9, ClockState.SYNCHRONISED), (1.1, ClockState.UNSYNCHRONISED)):
        for responder in responders:
            responder.offset = offset
        rounds(responders, 2)
        reach(gate, state)
    for responder in responders:
        responder.offset = 0.1
    rounds(responders, 2)
    reach(gate, ClockState.SYNCHRONISED)
    measured = gate.status().offset
    assert measured is not None
    assert timedelta(seconds=-0.3) < measured < timedelta(seconds=-0.05)


def test_offset_within_max_time_delta_but_beyond_the_accuracy_closes(
    responders: list[NtpResponder], watch: Watch
) -> None:
    for responder in responders:
        responder.offset = 2.0
    monitor, gate = watch(max_time_delta="6s")
    wait_until(lambda: monitor.verdict().trusted, seconds=WITHIN, what="the monitor allows 6 s")
    reach(gate, ClockState.UNSYNCHRONISED, "accuracy")


def test_dying_servers_lead_to_holdover_and_then_to_refusal(responders: list[NtpResponder], watch: Watch) -> None:
    _, gate = watch(gate={"max_holdover": "700ms"})
    reach(gate, ClockState.SYNCHRONISED)
    for responder in responders[:3]:
        responder.silent = True
    reach(gate, ClockState.HOLDOVER)
    gate.read()
    reach(gate, ClockState.UNSYNCHRONISED, "too few time servers answer")
    responders[0].silent = responders[1].silent = False
    reach(gate, ClockState.SYNCHRONISED)


def test_kiss_of_death_is_obeyed(responders: list[NtpResponder], watch: Watch) -> None:
    responders[0].stratum, responders[0].reference = 0, b"DENY"
    monitor, gate = watch()
    reach(gate, ClockState.SYNCHRONISED)
    rounds(responders[1:], 5)
    assert responders[0].requests == 1
    assert monitor.sources()[0].outcome == "kiss-o'-death DENY"


def test_rate_kiss_means_less_often_and_ends(responders: list[NtpResponder], watch: Watch) -> None:
    responders[0].stratum, responders[0].reference = 0, b"RATE"
    _, gate = watch()
    reach(gate, ClockState.SYNCHRONISED)
    rounds(responders[1:], 12)
    assert 2 <= responders[0].requests <= 5
    responders[0].stratum = 1
    rounds(responders[:1], 3)


def test_replays_and_garbage_change_nothing(responders: list[NtpResponder], watch: Watch) -> None:
    recorded: list[bytes] = []

    def replay(_: bytes, right: bytes) -> list[bytes]:
        recorded.append(right)
        return recorded[:1]

    responders[0].answers = replay
    responders[1].answers = lambda *_: [b"\xff" * 48, b"?"]
    responders[2].offset = 0.3
    monitor, gate = watch(server_threshold=2)
    wait_until(lambda: "other questions" in monitor.sources()[0].outcome, seconds=WITHIN, what="the replay is noticed")
    # Two answers that do not overlap are no majority of two.
    reach(gate, ClockState.UNSYNCHRONISED)
    responders[2].offset = 0.0
    reach(gate, ClockState.SYNCHRONISED)


def test_attempts_with_backoff(responders: list[NtpResponder], watch: Watch) -> None:
    lost = threading.Event()

    def lose_first(_: bytes, right: bytes) -> list[bytes]:
        if lost.is_set():
            return [right]
        lost.set()
        return []

    responders[0].answers = lose_first
    monitor, _ = watch(request_attempts=3, server_threshold=4, period="1h")
    wait_until(lambda: monitor.verdict().checked_at > 0, seconds=WITHIN, what="one round")
    assert monitor.verdict().trusted
    assert responders[0].requests == 2


def test_one_round_asks_a_random_choice(table: Callable[..., dict[str, Any]], responders: list[NtpResponder]) -> None:
    monitor = NtpMonitor(NtpOptions.model_validate(table(num_servers=2, server_threshold=2)))
    monitor.start(SystemClock())
    try:
        rounds(responders, 2)
        total = sum(responder.requests for responder in responders)
        assert total >= 8
    finally:
        monitor.stop()


def test_step_of_the_clock_closes_until_the_next_round(responders: list[NtpResponder], watch: Watch) -> None:
    clock = OffsetClock(timedelta(0))
    _, gate = watch(clock, period="1h")
    reach(gate, ClockState.SYNCHRONISED)
    clock.offset = timedelta(seconds=5)
    assert gate.status().state is ClockState.STEPPED


def test_announced_leap_second_needs_a_majority(responders: list[NtpResponder], watch: Watch) -> None:
    responders[0].leap = responders[1].leap = 1
    monitor, _ = watch()
    leap_of_all_four(monitor, "none")
    responders[2].leap = 1
    leap_of_all_four(monitor, "insert")


def leap_of_all_four(monitor: NtpMonitor, leap: str) -> None:
    """Wait for a round in which every server answers in time, and its announcement of a leap second."""

    def found() -> tuple[str, str]:
        verdict = monitor.verdict()
        return verdict.basis, verdict.leap

    wanted = ("4 of 4 NTP servers, not authenticated", leap)
    wait_until(lambda: found() == wanted, seconds=WITHIN, what=f"{wanted} ({found()})")


def test_names_are_resolved_each_round(
    responders: list[NtpResponder], watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    resolve, asked = socket.getaddrinfo, []

    def count(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        asked.append(port)
        return resolve(host, port, *args, **more)

    monkeypatch.setattr("tsa_core.api.ntp.query.socket.getaddrinfo", count)
    watch()
    rounds(responders, 3)
    assert asked.count(responders[0].port) >= 3


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"timestamp_authority_{name}", labels) or 0.0


def test_metrics_are_in_seconds_and_count_as_the_reference_does(responders: list[NtpResponder], watch: Watch) -> None:
    host = responders[0].server
    few, inv, disagree = (value("ntp_errors_total", reason=r) for r in ("err_too_few", "err_inv_time", "err_disagree"))
    responders[3].silent = True
    for responder in responders:
        responder.offset = -0.25
    _, gate = watch()
    reach(gate, ClockState.SYNCHRONISED)
    assert 0.1 < value("ntp_offset_seconds") < 0.4
    assert 0 < value("ntp_uncertainty_seconds") < 0.5
    wait_until(lambda: value("ntp_state", state="trusted") == 1, seconds=WITHIN, what="state trusted")
    assert value("ntp_sync_total", host=host, failed="false") >= 1
    assert value("ntp_latency_sum", host=host) / value("ntp_latency_count", host=host) < 0.5
    wait_until(
        lambda: value("ntp_sync_total", host=responders[3].server, failed="true") >= 1, seconds=WITHIN, what="failure"
    )
    assert value("ntp_errors_total", reason="err_too_few") == few
    for responder in responders[:3]:
        responder.offset = 5.0
    wait_until(lambda: value("ntp_errors_total", reason="err_inv_time") > inv, seconds=WITHIN, what="err_inv_time")
    wait_until(lambda: value("ntp_state", state="wrong") == 1, seconds=WITHIN, what="state wrong")
    responders[2].offset = 0.0
    wait_until(lambda: value("ntp_errors_total", reason="err_disagree") > disagree, seconds=WITHIN, what="err_disagree")
    responders[1].silent = responders[2].silent = True
    wait_until(lambda: value("ntp_errors_total", reason="err_too_few") > few, seconds=WITHIN, what="err_too_few")
    wait_until(lambda: value("ntp_state", state="unknown") == 1, seconds=WITHIN, what="state unknown")


def test_changes_are_logged_with_the_servers_answers(
    responders: list[NtpResponder], watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "tsa_core.api.ntp"):
        _, gate = watch()
        reach(gate, ClockState.SYNCHRONISED)
        rounds(responders, 2)
    lines = [record.getMessage() for record in caplog.records if record.name == "tsa_core.api.ntp.monitor"]
    assert len(lines) == 1
    assert all(responder.server in lines[0] for responder in responders)


def test_bad_server_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"clock\.ntp\.servers: 'name:port' is no time server"):
        NtpMonitor(NtpOptions(servers=["name:port"]))


def test_dead_thread_is_noticed_by_the_age_of_the_verdict(
    watch: Watch, responders: list[NtpResponder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor, gate = watch()
    reach(gate, ClockState.SYNCHRONISED)
    monitor.stop()
    valid_for = monitor.verdict().valid_for
    assert valid_for is not None
    assert valid_for < timedelta(seconds=5)
    before, real = time.monotonic(), time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + valid_for.total_seconds())
    # The gate takes wall clock and monotonic clock together: leave only the age to tell.
    clock = OffsetClock(valid_for)
    gate._now = clock.now
    gate.clock = clock
    assert time.monotonic() > before
    assert gate.status().state is ClockState.UNSYNCHRONISED
    assert gate.status().reason == "a clock monitor has stopped working"
