"""ClockContract and ClockMonitorContract: what the core demands of time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from time import monotonic, perf_counter
from typing import ClassVar

import pytest

from tsa_core.api import Clock, ClockError, ClockMonitor, ClockVerdict, PluginOptions, Provider, TimeReading
from tsa_core.builtin.clock import SystemClock
from tsa_core.testing.latency import check_latency
from tsa_core.testing.plugin_contract import PluginFixtures
from tsa_core.testing.raising import raised
from tsa_core.testing.threads import on_threads
from tsa_core.testing.waiting import wait_until

_READINGS = 1000


class OffsetClock(Clock):
    """The system's clock, wrong by `offset`; assign it to move the clock."""

    def __init__(self, offset: timedelta) -> None:
        self.offset = offset

    def now(self) -> TimeReading:
        """Return the wrong time."""
        return TimeReading(datetime.now(UTC) + self.offset)


class ClockContract(PluginFixtures):
    """Subclass it as TestClock; override `plugin`, and `options` where the clock needs settings.

    A clock that can lose its reference must override `lost_clock` too; another declares `can_fail = False`.
    """

    can_fail: ClassVar[bool] = True
    """Whether the clock can be without a time that it trusts."""
    tolerance: ClassVar[timedelta] = timedelta(minutes=5)
    """How far the clock under test may be from the system's."""
    readings_seconds: ClassVar[float] = 1.0
    """Seconds for a thousand readings: the clock is read for every token."""

    @pytest.fixture
    def open_clock(self, provider: Provider[Clock], validated_options: PluginOptions) -> Iterator[Callable[[], Clock]]:
        """Return a function that opens the clock through its provider."""
        opened: list[Clock] = []

        def open_one() -> Clock:
            opened.append(provider.open(validated_options))
            return opened[-1]

        yield open_one
        for clock in opened:
            clock.close()

    @pytest.fixture
    def clock(self, open_clock: Callable[[], Clock]) -> Clock:
        """Return the opened clock, ready to tell the time; override it when that takes a while."""
        return open_clock()

    @pytest.fixture
    def lost_clock(self) -> Clock | None:
        """Return an opened clock that has lost its reference; override it."""
        if self.can_fail:
            pytest.fail(
                f"{type(self).__name__} must override the fixture `lost_clock` with a clock that has no time to "
                "trust, or declare can_fail = False",
                pytrace=False,
            )
        return None

    def test_is_a_clock(self, clock: Clock) -> None:
        assert isinstance(clock, Clock), "what `open` returns must extend tsa_core.api.Clock"

    def test_time_is_aware_and_in_utc(self, clock: Clock) -> None:
        time = clock.now().time
        assert time.tzinfo is not None, "now() must return an aware datetime: datetime.now(UTC), not utcnow()"
        assert time.utcoffset() == timedelta(0), f"now() must return UTC, it returns {time.tzinfo}"

    def test_time_is_about_right(self, clock: Clock) -> None:
        error = abs(clock.now().time - datetime.now(UTC))
        assert error <= self.tolerance, f"the clock is {error} from the system's; local time taken for UTC?"

    def test_uncertainty_is_unknown_or_a_duration(self, clock: Clock) -> None:
        uncertainty = clock.now().uncertainty
        assert uncertainty is None or uncertainty >= timedelta(0), f"an uncertainty of {uncertainty} means nothing"

    def test_time_does_not_go_back(self, clock: Clock) -> None:
        times = [clock.now().time for _ in range(_READINGS)]
        assert times == sorted(times), "successive readings went back"

    def test_local_clock_does_not_wait(self, clock: Clock) -> None:
        check_latency(clock.latency, clock.now, doing="now")

    def test_reading_is_fast(self, clock: Clock) -> None:
        if clock.latency == "remote":
            return
        started = perf_counter()
        for _ in range(_READINGS):
            clock.now()
        elapsed = perf_counter() - started
        assert elapsed < self.readings_seconds, f"{_READINGS} readings took {elapsed:.2f} s; read ahead in a thread"

    def test_reads_on_many_threads(self, clock: Clock) -> None:
        readings = on_threads(lambda _: clock.now(), range(_READINGS))
        assert all(reading.time.utcoffset() == timedelta(0) for reading in readings)

    def test_lost_reference_is_clock_error(self, lost_clock: Clock | None) -> None:
        if lost_clock is None:
            assert not self.can_fail, "lost_clock is None, but can_fail is True"
            return
        error = raised(
            ClockError, lost_clock.now, doing="reading a clock without a reference", remedy="catch it in now()"
        )
        assert str(error).strip(), "the requester reads ClockError's text; give one"

    def test_close_twice(self, open_clock: Callable[[], Clock]) -> None:
        clock = open_clock()
        clock.close()
        clock.close()


class ClockMonitorContract(PluginFixtures):
    """Subclass it as TestMonitor; override `plugin` and `options`, so that the monitor finds its sources soon.

    A monitor whose sources can be out of reach overrides `blind_monitor` too; another declares
    `has_sources = False`. `secrets` should list the sources' names and addresses: requesters read the reasons.
    """

    has_sources: ClassVar[bool] = True
    """Whether the monitor depends on something that can be out of reach."""
    verdict_within: ClassVar[float] = 10.0
    """Seconds from start() to the first measured verdict, with `options`."""
    wrong_by: ClassVar[timedelta] = timedelta(hours=1)
    """An error of the clock that the monitor must notice."""

    @pytest.fixture
    def open_monitor(
        self, provider: Provider[ClockMonitor], validated_options: PluginOptions
    ) -> Iterator[Callable[[], ClockMonitor]]:
        """Return a function that opens the monitor through its provider, not started."""
        opened: list[ClockMonitor] = []

        def open_one() -> ClockMonitor:
            opened.append(provider.open(validated_options))
            return opened[-1]

        yield open_one
        for monitor in opened:
            monitor.stop()

    @pytest.fixture
    def monitor(self, open_monitor: Callable[[], ClockMonitor]) -> ClockMonitor:
        """Return the opened monitor, not started."""
        return open_monitor()

    @pytest.fixture
    def blind_monitor(self) -> ClockMonitor | None:
        """Return an opened monitor, not started, whose sources are out of reach; override it."""
        if self.has_sources:
            pytest.fail(
                f"{type(self).__name__} must override the fixture `blind_monitor` with a monitor whose sources do "
                "not answer, or declare has_sources = False",
                pytrace=False,
            )
        return None

    def _wait(self, monitor: ClockMonitor, condition: Callable[[ClockVerdict], bool], what: str) -> ClockVerdict:
        wait_until(
            lambda: condition(monitor.verdict()), seconds=self.verdict_within, what=f"{what} ({monitor.verdict()})"
        )
        return monitor.verdict()

    def test_is_a_monitor(self, monitor: ClockMonitor) -> None:
        assert isinstance(monitor, ClockMonitor), "what `open` returns must extend tsa_core.api.ClockMonitor"

    def test_verdict_before_the_first_measurement_says_so(self, monitor: ClockMonitor) -> None:
        verdict = monitor.verdict()
        assert verdict.checked_at == 0.0, "before any measurement, checked_at is 0"
        assert verdict.trusted or verdict.reason.strip(), "a verdict that distrusts gives its reason"

    def test_period_is_a_duration_or_unknown(self, monitor: ClockMonitor) -> None:
        period = monitor.period
        assert period is None or period > timedelta(0), "the time between two measurements is more than 0, or None"

    def test_memory_can_be_remembered(self, open_monitor: Callable[[], ClockMonitor]) -> None:
        if memory := open_monitor().memory():
            open_monitor().remember(memory)

    def test_right_clock_is_trusted(self, monitor: ClockMonitor) -> None:
        before = monotonic()
        monitor.start(SystemClock())
        verdict = self._wait(monitor, lambda v: v.trusted and v.checked_at > 0, "a right clock is trusted")
        assert before <= verdict.checked_at <= monotonic(), "checked_at must be time.monotonic() of the measurement"
        assert verdict.uncertainty is None or verdict.uncertainty >= timedelta(0)

    def test_wrong_clock_is_distrusted(self, monitor: ClockMonitor, secrets: list[str]) -> None:
        monitor.start(OffsetClock(self.wrong_by))
        verdict = self._wait(monitor, lambda v: not v.trusted and v.checked_at > 0, "a wrong clock is distrusted")
        _check_reason(verdict, secrets)
        if verdict.offset is not None:
            assert abs(verdict.offset - self.wrong_by) < self.wrong_by / 2, (
                f"offset is clock minus true time, {self.wrong_by} here, not {verdict.offset}"
            )

    def test_missing_sources_are_distrust(self, blind_monitor: ClockMonitor | None, secrets: list[str]) -> None:
        if blind_monitor is None:
            assert not self.has_sources, "blind_monitor is None, but has_sources is True"
            return
        blind_monitor.start(SystemClock())
        try:
            wait_until(
                lambda: not blind_monitor.verdict().trusted,
                seconds=self.verdict_within,
                what="a monitor without sources distrusts",
            )
            _check_reason(blind_monitor.verdict(), secrets)
        finally:
            blind_monitor.stop()

    def test_verdict_is_immediate_on_many_threads(self, monitor: ClockMonitor) -> None:
        monitor.start(SystemClock())
        started = perf_counter()
        verdicts = on_threads(lambda _: monitor.verdict(), range(_READINGS))
        elapsed = perf_counter() - started
        assert elapsed < 1.0, f"{_READINGS} verdicts took {elapsed:.2f} s; verdict() returns what is known already"
        assert all(isinstance(verdict, ClockVerdict) for verdict in verdicts)

    def test_crashing_clock_does_not_end_the_watch(self, monitor: ClockMonitor) -> None:
        clock = OffsetClock(timedelta(0))
        crashing = _CrashingOnce(clock)
        monitor.start(crashing)
        self._wait(monitor, lambda v: crashing.readings > 1 and v.trusted, "the watch goes on after the clock failed")

    def test_stop_ends_its_threads(self, open_monitor: Callable[[], ClockMonitor]) -> None:
        before = set(threading.enumerate())
        monitor = open_monitor()
        monitor.start(SystemClock())
        monitor.stop()
        monitor.stop()
        wait_until(
            lambda: not [t for t in threading.enumerate() if t not in before and t.is_alive()],
            seconds=self.verdict_within,
            what="stop() ends the monitor's threads",
        )

    def test_stop_without_start(self, open_monitor: Callable[[], ClockMonitor]) -> None:
        open_monitor().stop()


class _CrashingOnce(Clock):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.readings = 0

    def now(self) -> TimeReading:
        self.readings += 1
        if self.readings == 1:
            raise ClockError("the clock is not ready yet")
        return self._clock.now()


def _check_reason(verdict: ClockVerdict, secrets: list[str]) -> None:
    assert verdict.reason.strip(), "a verdict that distrusts gives its reason"
    assert not any(secret in verdict.reason for secret in secrets if secret), (
        f"the reason {verdict.reason!r} names what the public must not know"
    )
