"""Rules about time: S1 no trusted time, no token; S26 ordering."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests import pki
from tests.conformance.plain_encoder import PlainRequest
from tests.conformance.replies import granted, read_reply, refused
from tests.serving import Parts, TestClock, TestSigner, open_service, running_server
from tsa_core.api import Clock, ClockMonitor, ClockVerdict, ConfigError, RequestContext, TimeReading
from tsa_core.authority import TimestampAuthority

BODY = PlainRequest().encode()
TIME_NOT_AVAILABLE = "0303010002"
ORDERED = {"default": {"ordering": True, "fraction_digits": 6}}


class Monitor(ClockMonitor):
    """Gives the verdict that a test sets."""

    def __init__(self) -> None:
        self.trusted = True
        self.crash = False
        self.watched: Clock | None = None
        self.stopped = False

    def start(self, clock: Clock) -> None:
        self.watched = clock

    def verdict(self) -> ClockVerdict:
        if self.crash:
            raise RuntimeError("ntp.internal.example did not answer")
        return ClockVerdict(trusted=self.trusted, reason="it differs from others")

    def stop(self) -> None:
        self.stopped = True


def test_s01_no_trusted_time_no_token() -> None:
    monitors = [Monitor(), Monitor()]
    with running_server(Parts(monitors=monitors)) as server:
        assert all(monitor.watched is not None for monitor in monitors)
        granted(server.post(BODY).body)
        for monitor in monitors:
            monitor.trusted = False
            reply = server.post(BODY)
            assert reply.status == 200
            assert "it differs from others" in refused(reply.body, TIME_NOT_AVAILABLE)
            ready = server.request("GET", "/readyz")
            assert ready.status == 503
            assert "it differs from others" in ready.body.decode()
            monitor.trusted = True
        granted(server.post(BODY).body)
        assert server.request("GET", "/readyz").status == 200
    assert all(monitor.stopped for monitor in monitors)


def test_s01_a_monitor_that_crashes_is_not_trusted() -> None:
    monitor = Monitor()
    with open_service(Parts(monitors=[monitor])) as service:
        monitor.crash = True
        text = refused(service.authority.respond(BODY, RequestContext()).der, TIME_NOT_AVAILABLE)
        assert "internal" not in text
        monitor.crash = False
        granted(service.authority.respond(BODY, RequestContext()).der)


def test_s01_a_clock_that_crashes_has_no_time() -> None:
    def crash() -> datetime:
        raise OSError("/dev/ptp0")

    clock = TestClock()
    with open_service(Parts(clock=clock)) as service:
        clock.read = crash
        assert "/dev" not in refused(service.authority.respond(BODY, RequestContext()).der, TIME_NOT_AVAILABLE)


class ChainedSigner(TestSigner):
    """Brings a chain of the test's."""

    def __init__(self, chain: tuple[bytes, ...]) -> None:
        super().__init__()
        self._chain = chain


@pytest.mark.parametrize("shorter", ["leaf", "intermediate", "root"])
def test_s08_no_token_outside_the_validity_of_the_chain(shorter: str) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    starts = {
        name: now - (pki.days(1) if name == shorter else pki.days(9)) for name in ("leaf", "intermediate", "root")
    }
    ends = {name: now + (pki.days(1) if name == shorter else pki.days(9)) for name in ("leaf", "intermediate", "root")}
    own, between = pki.name("Conformance Root"), pki.name("Conformance Intermediate")
    root = pki.certificate(
        own,
        pki.key("p256"),
        own,
        pki.key("p256"),
        pki.ca_extensions(),
        not_before=starts["root"],
        not_after=ends["root"],
    )
    intermediate = pki.certificate(
        between,
        pki.key("p384"),
        own,
        pki.key("p256"),
        [*pki.ca_extensions(0), (pki.TIMESTAMPING, False)],
        not_before=starts["intermediate"],
        not_after=ends["intermediate"],
    )
    leaf = pki.leaf(pki.key("p256"), not_before=starts["leaf"], not_after=ends["leaf"])
    clock = TestClock()
    signer = ChainedSigner(pki.der([leaf, intermediate, root]))
    second = timedelta(seconds=1)
    with open_service(Parts(clock=clock, signers={"p256": signer})) as service:
        for moment, good in (
            (starts[shorter], True),
            (starts[shorter] - second / 1000, False),
            (ends[shorter], True),
            (ends[shorter] + second / 1000, False),
        ):
            clock.set(moment)
            reply = read_reply(service.authority.respond(BODY, RequestContext()).der)
            assert (reply.status == 0) is good, (moment, reply)


def gen_times(authority: TimestampAuthority, count: int) -> list[str]:
    """Return genTime of `count` tokens, each as 20 digits."""
    found = []
    for _ in range(count):
        text = granted(authority.respond(BODY, RequestContext()).der).gen_time
        whole, _, fraction = text.removesuffix("Z").partition(".")
        found.append(f"{whole}{fraction:0<6}")
    return found


@pytest.mark.parametrize("digits", [3, 6])
def test_s26_gen_time_strictly_increases_over_64_threads(digits: int) -> None:
    profiles = {"default": {"ordering": True, "fraction_digits": digits}}
    with open_service(Parts(signers={"p256": TestSigner("ed25519")}), profiles=profiles) as service:
        barrier = threading.Barrier(64)

        def work(_number: int) -> list[str]:
            barrier.wait(timeout=60)
            return gen_times(service.authority, 10)

        with ThreadPoolExecutor(64) as pool:
            by_thread = list(pool.map(work, range(64)))
    for times in by_thread:
        assert times == sorted(times)
    everything = [text for times in by_thread for text in times]
    assert len(set(everything)) == 640, "two tokens that say ordering TRUE have one genTime"


def test_s26_clock_stepped_back_is_time_not_available() -> None:
    start = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
    clock = TestClock(lambda: start)
    with open_service(Parts(clock=clock), profiles=ORDERED) as service:
        first = granted(service.authority.respond(BODY, RequestContext()).der).gen_time
        clock.set(start - timedelta(seconds=1))
        assert "clock" in refused(service.authority.respond(BODY, RequestContext()).der, TIME_NOT_AVAILABLE)
        clock.set(start)
        refused(service.authority.respond(BODY, RequestContext()).der, TIME_NOT_AVAILABLE)
        clock.set(start + timedelta(microseconds=1))
        second = granted(service.authority.respond(BODY, RequestContext()).der).gen_time
    assert (first, second) == ("20260601120000Z", "20260601120000.000001Z")


def test_s26_ticks_are_those_that_the_token_shows() -> None:
    """Two times which differ only beyond the digits that are written would be one genTime."""
    start = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
    clock = TestClock(lambda: start)
    profiles = {"default": {"ordering": True, "fraction_digits": 3}}
    with open_service(Parts(clock=clock), profiles=profiles) as service:
        granted(service.authority.respond(BODY, RequestContext()).der)
        clock.set(start + timedelta(microseconds=999))
        refused(service.authority.respond(BODY, RequestContext()).der, TIME_NOT_AVAILABLE)
        clock.set(start + timedelta(microseconds=1000))
        granted(service.authority.respond(BODY, RequestContext()).der)


def test_s26_waits_for_the_next_tick() -> None:
    """Two requests in one tick: the second gets the next, instead of a refusal."""
    start = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
    next_tick = start + timedelta(milliseconds=1)
    later = iter([start, start + timedelta(microseconds=999)])
    times: list[str] = []
    profiles = {"default": {"ordering": True, "fraction_digits": 3}}
    # The gate reads the clock on its own, too, so the time hangs on the tokens and not on the number of readings.
    clock = TestClock(lambda: next(later, next_tick) if times else start)
    with open_service(Parts(clock=clock), profiles=profiles) as service:
        times.append(granted(service.authority.respond(BODY, RequestContext()).der).gen_time)
        times.append(granted(service.authority.respond(BODY, RequestContext()).der).gen_time)
    assert times == ["20260601120000Z", "20260601120000.001Z"]


def test_s26_a_monitor_is_asked_while_waiting() -> None:
    start = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
    monitor = Monitor()

    class Stalled(Clock):
        """Loses the monitor's trust as soon as it is read after the first token."""

        stamped = False

        def now(self) -> TimeReading:
            monitor.trusted = not self.stamped
            return TimeReading(start)

    clock = Stalled()
    with open_service(Parts(clock=clock, monitors=[monitor]), profiles=ORDERED) as service:
        granted(service.authority.respond(BODY, RequestContext()).der)
        clock.stamped = True
        text = refused(service.authority.respond(BODY, RequestContext()).der, TIME_NOT_AVAILABLE)
        assert "it differs from others" in text


def test_s26_ordering_needs_one_process() -> None:
    """What several processes stamp would be ordered in each, and not among them."""
    with pytest.raises(ConfigError, match="workers = 1"):
        open_service(profiles={"default": {"ordering": True, "fraction_digits": 6}}, workers=2)
    with pytest.raises(ConfigError, match=r"profiles\.second\.ordering"):
        open_service(profiles={"second": {"ordering": True, "fraction_digits": 6}}, workers=2)
    with open_service(workers=2) as service:
        granted(service.authority.respond(BODY, RequestContext()).der)


def test_s26_ordering_needs_fractions() -> None:
    with pytest.raises(ConfigError, match="fraction_digits"):
        open_service(profiles={"default": {"ordering": True}})
