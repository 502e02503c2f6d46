"""The chrony monitor against a real chronyd, which follows a time server of ours on loopback."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from time import monotonic
from types import ModuleType
from typing import Any

import pytest

from tsa_backends.watched_clock import WITHIN, reach
from tsa_core.api import ClockMonitor, ConfigError
from tsa_core.authority import ClockGate, ClockState
from tsa_core.builtin.clock import SystemClock
from tsa_core.config import ClockSettings
from tsa_core.testing import ClockMonitorContract, OffsetClock, ProviderContract, wait_until
from tsa_core.testing.chronyd import Chronyd
from tsa_core.testing.ntp_responder import NtpResponder
from tsa_monitor_chrony import plugin as chrony_plugin
from tsa_monitor_chrony.bound import counts
from tsa_monitor_chrony.chronyc import Chronyc, ChronydSilent
from tsa_monitor_chrony.monitor import ChronyMonitor
from tsa_monitor_chrony.options import ChronyOptions


@pytest.fixture
def responder() -> Iterator[NtpResponder]:
    with NtpResponder() as running:
        yield running


@pytest.fixture
def chronyd(chronyd_folder: Path, responder: NtpResponder) -> Iterator[Chronyd]:
    with Chronyd(chronyd_folder, follows=responder.port) as running:
        yield running


@pytest.fixture
def table(chronyd: Chronyd, table_of: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    return table_of(chronyd, timeout="2s")


class TestProvider(ProviderContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return chrony_plugin


class TestMonitor(ClockMonitorContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return chrony_plugin

    @pytest.fixture
    def options(self, table: dict[str, Any]) -> Mapping[str, Any]:
        return table

    @pytest.fixture
    def secrets(self, chronyd: Chronyd, responder: NtpResponder) -> list[str]:
        return ["127.0.0.1", str(chronyd.command_port), str(responder.port)]

    @pytest.fixture
    def blind_monitor(self, chronyd: Chronyd, open_monitor: Callable[[], ClockMonitor]) -> ClockMonitor | None:
        chronyd.stop()
        return open_monitor()


@pytest.fixture
def monitor(table: dict[str, Any]) -> Iterator[ChronyMonitor]:
    opened = ChronyMonitor(ChronyOptions.model_validate(table))
    opened.start(SystemClock())
    yield opened
    opened.stop()


@pytest.mark.parametrize("offset", [0.25, -0.4])
def test_offset_is_clock_minus_true_time(monitor: ChronyMonitor, responder: NtpResponder, offset: float) -> None:
    responder.offset = offset
    wait_until(
        lambda: (o := monitor.verdict().offset) is not None and abs(o.total_seconds() + offset) < 0.05,
        seconds=WITHIN,
        what=f"an offset of {-offset} ({monitor.verdict()})",
    )
    assert monitor.verdict().trusted


def test_its_source_is_listed(monitor: ChronyMonitor, responder: NtpResponder) -> None:
    responder.offset = 0.2
    wait_until(
        lambda: any(source.used for source in monitor.sources()), seconds=WITHIN, what="chronyd selects its source"
    )
    (source,) = monitor.sources()
    assert (source.name, source.outcome, source.stratum) == ("127.0.0.1", "selected", 1)
    assert source.uncertainty is not None


def test_offset_of_another_clock_source_counts(table: dict[str, Any]) -> None:
    monitor = ChronyMonitor(ChronyOptions.model_validate(table))
    monitor.start(OffsetClock(timedelta(seconds=0.5)))
    try:
        wait_until(lambda: monitor.verdict().trusted, seconds=WITHIN, what="a verdict")
        offset = monitor.verdict().offset
        assert offset is not None
        assert abs(offset - timedelta(seconds=0.5)) < timedelta(milliseconds=50)
    finally:
        monitor.stop()


def test_stopped_chronyd_leads_to_holdover_then_refusal(monitor: ChronyMonitor, chronyd: Chronyd) -> None:
    clock = SystemClock()
    gate = ClockGate(clock, [monitor], settings=ClockSettings.model_validate({"max_holdover": "1s"}))
    reach(gate, ClockState.SYNCHRONISED)
    chronyd.stop()
    reach(gate, ClockState.HOLDOVER)
    reach(gate, ClockState.UNSYNCHRONISED, "does not answer")
    chronyd.start()
    reach(gate, ClockState.SYNCHRONISED)


def test_chronyd_without_an_answer_is_not_trusted(
    chronyd_folder: Path, responder: NtpResponder, table_of: Callable[..., dict[str, Any]]
) -> None:
    responder.silent = True
    with Chronyd(chronyd_folder, follows=responder.port) as chronyd:
        monitor = ChronyMonitor(ChronyOptions.model_validate(table_of(chronyd)))
        monitor.start(SystemClock())
        try:
            wait_until(lambda: "not synchronised" in monitor.verdict().reason, seconds=WITHIN, what="chronyd's word")
            assert not monitor.verdict().trusted
        finally:
            monitor.stop()


def looks(monitor: ChronyMonitor, *, count: int) -> None:
    """Wait until the monitor has looked so many times more."""
    seen = [monitor.verdict()]

    def looked() -> bool:
        if monitor.verdict() is not seen[-1]:
            seen.append(monitor.verdict())
        return len(seen) > count

    wait_until(looked, seconds=WITHIN, what=f"{count} looks")


def test_step_stays_noticed_until_chronyd_has_measured_again(responder: NtpResponder, table: dict[str, Any]) -> None:
    clock = OffsetClock(timedelta(0))
    monitor = ChronyMonitor(ChronyOptions.model_validate({**table, "max_offset": "20s"}))
    monitor.start(clock)
    gate = ClockGate(clock, [monitor])
    try:
        reach(gate, ClockState.SYNCHRONISED)
        responder.silent = True
        looks(monitor, count=5)
        clock.offset = timedelta(seconds=5)
        assert gate.status().state is ClockState.STEPPED
        looks(monitor, count=1)
        assert gate.status().state is ClockState.STEPPED
        responder.silent = False
        reach(gate, ClockState.SYNCHRONISED)
    finally:
        monitor.stop()


def test_missing_program_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"clock\.chrony\.program: there is no program 'no-such-chronyc'"):
        ChronyMonitor(ChronyOptions(program="no-such-chronyc"))


TRACKING = "7F000001,127.0.0.1,2,1795355120.641366793,2.5,-0.00002,0.00004,-118.2,-0.0,538.7,0.4,0.2,0.3,Insert second"
SOURCE = "^,*,127.0.0.1,1,6,377,12,0.25,0.1,0.03"
STATISTICS = "127.0.0.1,16,7,4,-3.0,20.0,-0.000000026,0.000023744"
GOOD = f"{TRACKING}\n{SOURCE}\n{STATISTICS}\n{TRACKING}"


def options_of_a_fake(folder: Path, script: str, *, timeout: float = 30) -> ChronyOptions:
    program = folder / "chronyc"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return ChronyOptions(program=str(program), timeout=timedelta(seconds=timeout))


def fake_chronyc(folder: Path, script: str, *, timeout: float = 30) -> Chronyc:
    return Chronyc(options_of_a_fake(folder, script, timeout=timeout))


@pytest.mark.parametrize("beside", [0.0009, -0.0009, 0.3])
def test_the_bound_holds_for_a_clock_source_beside_the_system_clock(tmp_path: Path, beside: float) -> None:
    """Less than a millisecond too, which may be no more than the time between two readings."""
    exact = GOOD.replace(",2.5,", ",0.0,").replace("0.25,0.1,0.03", "0.0,0.0,0.00001")
    monitor = ChronyMonitor(options_of_a_fake(tmp_path, f"echo '{exact}'"))
    verdict = monitor._look(OffsetClock(timedelta(seconds=beside)), monotonic())
    assert verdict.offset is not None
    assert verdict.uncertainty is not None
    assert abs(verdict.offset - timedelta(seconds=beside)) <= verdict.uncertainty
    assert verdict.uncertainty < timedelta(seconds=0.01)


def test_chronyc_is_told_no_secret_of_the_servers_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it is told, any process of the same user can read."""
    monkeypatch.setenv("TSA_SIGNER__FILE__PASSWORD", "a secret")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    fake_chronyc(tmp_path, f"env > '{tmp_path}/told'; echo '{GOOD}'").report()
    told = dict(line.split("=", 1) for line in (tmp_path / "told").read_text().splitlines())
    assert told["LC_ALL"] == "C"
    assert told["PATH"] == os.environ["PATH"]
    assert "a secret" not in told.values()


def test_what_chronyc_prints_is_read(tmp_path: Path) -> None:
    tracking, [source] = fake_chronyc(tmp_path, f"echo '{GOOD}'").report()
    assert (tracking.offset, tracking.stratum, tracking.leap) == (-2.5, 2, "insert")
    assert (source.state, source.offset, source.error, source.age, source.recent) == ("*", 0.25, 0.03, 13.0, True)
    assert source.growth == pytest.approx(24e-6)


@pytest.mark.parametrize(("reach", "recent"), [("0", False), ("370", False), ("374", True), ("1", True)])
def test_three_questions_without_an_answer_are_too_many(tmp_path: Path, reach: str, recent: bool) -> None:
    [source] = fake_chronyc(tmp_path, f"echo '{GOOD.replace(',377,', f',{reach},')}'").report().sources
    assert source.recent is recent


def test_a_source_that_was_never_heard_has_no_vote(tmp_path: Path) -> None:
    """As chronyd prints it."""
    never = GOOD.replace(SOURCE, "^,?,127.0.0.1,0,6,0,4294967295,0.0,0.0,0.0").replace("16,7,4", "0,0,0")
    [source] = fake_chronyc(tmp_path, f"echo '{never}'").report().sources
    assert not counts(source)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo '506 Cannot talk to daemon'; exit 1", "chronyc failed: 506 Cannot talk to daemon"),
        ("exit 3", "exit code 3"),
        ("echo garbage", "cannot be read"),
        (f"echo '{TRACKING}'", "cannot be read"),
        (f"echo '{GOOD.replace('2.5', 'fast')}'", "'fast'"),
        (f"echo '{GOOD.replace(STATISTICS + chr(10), '')}'", "sources without statistics"),
        (f"echo '{GOOD.replace(STATISTICS, STATISTICS.replace('127.0.0.1', '127.0.0.2'))}'", "do not fit each other"),
        (f"echo '{GOOD.replace(',12,', f',{9 * 10**400},')}'", "cannot be read"),
        (f"echo '{GOOD.replace('641366793', '$(date +%N)', 1)}'".replace("$(date +%N)", "'$(date +%N)'"), "each of 3"),
        ("printf '\\377\\376'", "cannot be read"),
    ],
)
def test_what_chronyc_may_do_instead(tmp_path: Path, script: str, message: str) -> None:
    with pytest.raises(ChronydSilent, match=message):
        fake_chronyc(tmp_path, script).report()


def test_a_chronyc_that_hangs_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(ChronydSilent, match="did not answer within 1 s"):
        fake_chronyc(tmp_path, "exec sleep 30", timeout=1).report()


def test_unsynchronised_is_no_leap_status(tmp_path: Path) -> None:
    printed = GOOD.replace("Insert second", "Not synchronised")
    assert fake_chronyc(tmp_path, f"echo '{printed}'").report().tracking.leap is None
