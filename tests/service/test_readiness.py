"""Readiness: red while no token can be issued for any reason, green again, both without a request."""

from __future__ import annotations

import threading
import time
from asyncio import CancelledError
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.serving import Parts, TestClock, TestSigner, TestSink, open_service
from tsa_core.api import AuditError, ClockError, HealthStatus, RequestContext, ResponseProcessor
from tsa_core.authority import CauseKind
from tsa_core.config import load_settings
from tsa_core.service import Service
from tsa_core.testing import encode_request, ends_within, wait_until

SECONDS = 60.0


@pytest.fixture(autouse=True)
def looks_come_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let readiness be looked at twenty times a second, instead of once."""
    monkeypatch.setattr("tsa_core.service.readiness_watch._PERIOD_SECONDS", 0.05)


def unhealthy(service: Service) -> dict[str, str]:
    return {check.name: check.reason for check in service.readiness() if not check.healthy}


def becomes(service: Service, expected: dict[str, str]) -> None:
    wait_until(lambda: unhealthy(service) == expected, seconds=SECONDS, what=f"readiness is {expected}")


class Store(TestSink):
    """A sink that says how it is."""

    def __init__(self) -> None:
        super().__init__()
        self.say: Callable[[], HealthStatus] = lambda: HealthStatus(healthy=True)
        self.asked_in: set[str] = set()

    def health(self) -> HealthStatus:
        self.asked_in.add(threading.current_thread().name)
        return self.say()


class Keeper(ResponseProcessor):
    say = HealthStatus(healthy=True)

    def health(self) -> HealthStatus:
        return self.say


@pytest.mark.plugin("memory")
def test_a_chain_that_has_ended_is_not_ready() -> None:
    with Service(load_settings(environ={})) as service:
        assert all(check.healthy for check in service.readiness())
        service.authority.profiles["default"].not_after = datetime.now(UTC) - timedelta(seconds=1)
        assert unhealthy(service) == {"certificate:default": "a certificate of the chain is not valid now"}
        assert service.watch.stopping("default") == [CauseKind.CERTIFICATE]


def test_the_period_of_the_certificate_is_judged_by_the_clock_that_dates_tokens() -> None:
    clock = TestClock()
    with open_service(Parts(clock=clock)) as service:
        clock.set(datetime(2099, 1, 1, tzinfo=UTC))
        assert unhealthy(service) == {"certificate:default": "a certificate of the chain is not valid now"}
        clock.read = lambda: datetime.now(UTC)
        assert not unhealthy(service)


def test_a_clock_that_fails_is_not_ready() -> None:
    clock = TestClock()

    def fail() -> datetime:
        raise ClockError("the receiver has no fix")

    with open_service(Parts(clock=clock)) as service:
        clock.read = fail
        assert unhealthy(service) == {"clock": "unsynchronised; the receiver has no fix"}
        assert service.watch.stopping("default") == [CauseKind.CLOCK]


def test_a_sink_and_a_processor_say_without_a_request_that_they_are_ill_and_well_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink, processor = Store(), Keeper()
    with open_service(Parts(sinks=[sink], processors=[processor])) as service:
        assert not unhealthy(service)
        sink.say = lambda: HealthStatus(healthy=False, reason="the disk is full")
        processor.say = HealthStatus(healthy=False)
        becomes(service, {"audit:sink0": "the disk is full", "response:processor0": "not healthy"})
        assert service.watch.stopping("default") == [CauseKind.RESPONSE, CauseKind.AUDIT]
        wait_until(lambda: "not ready: audit:sink0: the disk is full" in caplog.text, seconds=SECONDS, what="a line")
        sink.say = lambda: HealthStatus(healthy=True, reason="nearly full")
        processor.say = HealthStatus(healthy=True)
        becomes(service, {})
        assert {check.reason for check in service.readiness() if check.name == "audit:sink0"} == {"nearly full"}
        wait_until(lambda: "ready again: audit:sink0" in caplog.text, seconds=SECONDS, what="another line")
    assert sink.asked_in == {"probe audit:sink0"}


def test_a_failure_that_a_request_met_lasts_until_the_sink_says_that_it_is_over() -> None:
    sink = Store()
    with open_service(Parts(sinks=[sink])) as service:
        sink.failure = AuditError("full")
        sink.say = lambda: HealthStatus(healthy=False, reason="the disk is full")
        service.authority.respond(encode_request(), RequestContext(request_id="7"))
        assert "audit:sink0" in unhealthy(service)
        becomes(service, {"audit:sink0": "the disk is full"})
        sink.failure, sink.say = None, lambda: HealthStatus(healthy=True)
        becomes(service, {})


def test_a_sink_without_a_health_of_its_own_is_not_taken_at_its_word_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = TestSink()
    monkeypatch.setattr("tsa_core.service.readiness_watch._HOLD_SECONDS", 2.0)
    with open_service(Parts(sinks=[sink])) as service:
        sink.failure = AuditError("full")
        service.authority.respond(encode_request(), RequestContext(request_id="7"))
        failed_at = time.monotonic()
        assert set(unhealthy(service)) == {"audit:sink0"}
        becomes(service, {})
        assert time.monotonic() - failed_at >= 2.0


def test_a_signer_that_is_down_comes_back_without_a_request() -> None:
    signer = TestSigner()
    with open_service(Parts(signers={"p256": signer})) as service:
        signer.go_down()
        service.authority.respond(encode_request(), RequestContext(request_id="7"))
        assert unhealthy(service) == {"signer:default": "the signer cannot sign now"}
        assert not service.authority.profiles["default"].available
        signer.come_back()
        becomes(service, {})


def test_a_signer_that_nobody_uses_is_tried() -> None:
    signer = TestSigner()
    with open_service(Parts(signers={"p256": signer}), tables={"health": {"trial_interval": "1s"}}) as service:
        signer.go_down()
        becomes(service, {"signer:default": "the signer cannot sign now"})
        signer.come_back()
        becomes(service, {})


def test_a_question_that_hangs_makes_red_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    sink, go = Store(), threading.Event()

    def hang() -> HealthStatus:
        assert go.wait(SECONDS)
        return HealthStatus(healthy=True)

    monkeypatch.setattr("tsa_core.service.readiness_watch._ANSWER_SECONDS", 0.5)
    with open_service(Parts(sinks=[sink])) as service:
        sink.say = hang
        with ends_within(2.0):
            becomes(service, {"audit:sink0": "no answer within 0.5 s"})
        go.set()
        sink.say = lambda: HealthStatus(healthy=True)
        becomes(service, {})


@pytest.mark.parametrize(
    "crash", [RuntimeError("token s.secret"), SystemExit(3), KeyboardInterrupt(), CancelledError()]
)
def test_a_sink_that_cannot_tell_is_red_with_one_traceback(
    crash: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    sink = Store()
    times = []

    def fail() -> HealthStatus:
        times.append(1)
        raise crash

    with open_service(Parts(sinks=[sink])) as service:
        sink.say = fail
        becomes(service, {"audit:sink0": "it could not tell its health; the log says why"})
        wait_until(lambda: len(times) >= 2, seconds=SECONDS, what="it is asked again")
        sink.say = lambda: HealthStatus(healthy=True)
        becomes(service, {})
    assert [record.getMessage() for record in caplog.records if record.exc_info] == [
        "audit:sink0 could not tell its health"
    ]


def test_an_answer_of_the_wrong_type_is_red() -> None:
    sink = Store()
    with open_service(Parts(sinks=[sink])) as service:
        sink.say = lambda: True  # type: ignore[assignment,return-value] # a plugin's mistake
        becomes(service, {"audit:sink0": "it could not tell its health; the log says why"})


def test_without_threads_for_a_moment_the_watch_goes_on_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sink = Store()
    start = threading.Thread.start

    def no_thread(self: threading.Thread) -> None:
        if self.name.startswith(("readiness", "probe")):
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    with open_service(Parts(sinks=[sink])) as service:
        assert "readiness is not watched now" in caplog.text
        monkeypatch.setattr(threading.Thread, "start", start)
        sink.say = lambda: HealthStatus(healthy=False, reason="the disk is full")
        becomes(service, {"audit:sink0": "the disk is full"})


def test_closing_ends_the_threads() -> None:
    before = set(threading.enumerate())  # tests of what hangs leave threads of these names behind

    def threads() -> set[str]:
        return {thread.name for thread in threading.enumerate() if thread not in before}

    with open_service(Parts(sinks=[Store()])) as service:
        wait_until(lambda: "probe audit:sink0" in threads(), seconds=SECONDS, what="the sink is asked")
        service.readiness()
    wait_until(lambda: not {"readiness", "probe audit:sink0"} & threads(), seconds=SECONDS, what="the threads end")
    service.readiness()
    assert not {"readiness", "probe audit:sink0"} & threads()
