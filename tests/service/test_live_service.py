"""One opened set takes another's place: what is kept, what is opened again, and when the old one is closed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA256

from tests.serving import Parts, TestClock, TestSigner, TestSink, open_service
from tsa_core.api import AuditEvent, ClockAnchor, ClockMonitor, ClockVerdict, ConfigError, RequestContext
from tsa_core.authority import ClockState
from tsa_core.config import Settings
from tsa_core.service import LiveService, Service
from tsa_core.service.live import _retire
from tsa_core.testing import FakeMonitor, encode_request, wait_until

REQUEST = encode_request(b"x")


class Signer(TestSigner):
    """Counts how often it is closed; `hold` makes signatures wait."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = 0
        self.signing = threading.Event()
        self.hold: threading.Event | None = None

    def sign(self, message: bytes, *, timeout: float) -> bytes:
        self.signing.set()
        if self.hold is not None:
            assert self.hold.wait(30)
        return super().sign(message, timeout=timeout)

    def close(self) -> None:
        self.closed += 1


class Sink(TestSink):
    """Keeps events, too, and counts how often it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = 0
        self.events: list[AuditEvent] = []

    def event(self, event: AuditEvent) -> None:
        self.events.append(event)

    def close(self) -> None:
        self.closed += 1


class Deployment:
    """A live service over the parts of a test; every reload opens `signer`, which may be another one by then."""

    def __init__(self, *, monitors: Iterable[ClockMonitor] = (), **profile: Any) -> None:
        self.signer = Signer()
        self.sink = Sink()
        self.clock = TestClock()
        self.signers: dict[str, Any] = {"p256": self.signer}
        parts = Parts(signers=self.signers, clock=self.clock, sinks=[self.sink], monitors=list(monitors))
        self.live = LiveService(open_service(parts, profiles={"default": profile}), self.build)
        self.replies: list[bytes] = []

    @staticmethod
    def build(service: Service) -> Any:
        """Make an application that answers with the profile's chain and a token."""

        def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            return [service.authority.respond(REQUEST, RequestContext()).der]

        return application

    @property
    def settings(self) -> Settings:
        return self.live.service.settings

    def ask(self, environ: dict[str, Any] | None = None) -> None:
        self.replies.extend(self.live({} if environ is None else environ, lambda *_: None))

    def replace_signer(self) -> Signer:
        new = Signer()
        self.signers["p256"] = new
        return new

    def reload(self, settings: Settings | None = None) -> None:
        self.live.prepare(settings or self.settings)
        self.live.commit()


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    made = Deployment()
    yield made
    made.live.close()


def test_a_request_that_is_finished_later_keeps_the_old_set(deployment: Deployment) -> None:
    environ: dict[str, Any] = {}
    deployment.ask(environ)
    old = deployment.signer
    deployment.replace_signer()
    deployment.reload()
    assert [thread.name for thread in threading.enumerate()].count("retire") == 1
    assert old.closed == 0
    environ.clear()
    wait_until(lambda: old.closed == 1, seconds=10, what="the old signer is closed")


def test_a_request_in_progress_finishes_with_the_old_set(deployment: Deployment) -> None:
    old = deployment.signer
    old.signing.clear()
    old.hold = threading.Event()
    request = threading.Thread(target=deployment.ask)
    request.start()
    assert old.signing.wait(10)
    new = deployment.replace_signer()
    deployment.reload()
    deployment.ask()
    assert len(deployment.replies) == 1, "a later request does not wait for the one in progress"
    assert old.closed == 0
    old.hold.set()
    request.join(10)
    assert len(deployment.replies) == 2
    wait_until(lambda: old.closed == 1, seconds=10, what="the old signer is closed")
    assert new.closed == 0
    deployment.live.close()
    assert (old.closed, new.closed) == (1, 1)


def test_an_idle_old_set_is_closed_at_once(deployment: Deployment) -> None:
    old = deployment.signer
    for _ in range(5):
        deployment.ask()
    deployment.replace_signer()
    deployment.reload()
    wait_until(lambda: old.closed == 1, seconds=5, what="the old signer is closed")


def test_what_did_not_change_is_kept_open(deployment: Deployment) -> None:
    clock = deployment.live.service.clock.gate.clock
    for _ in range(3):
        old: Signer = deployment.signers["p256"]
        deployment.replace_signer()
        deployment.reload()
        wait_until(lambda old=old: old.closed == 1, seconds=5, what="the old signer is closed")  # type: ignore[misc] # bound here
    assert deployment.sink.closed == 0
    assert deployment.live.service.clock.gate.clock is clock
    deployment.ask()
    assert len(deployment.sink.records) == 1
    deployment.live.close()
    assert deployment.sink.closed == 1


def test_a_refused_set_leaves_nothing_open_and_nothing_closed(deployment: Deployment) -> None:
    before = deployment.live.service
    new = deployment.replace_signer()
    new.go_down()
    with pytest.raises(Exception, match="connection refused"):
        deployment.live.prepare(deployment.settings)
    assert new.closed == 1
    assert (deployment.signer.closed, deployment.sink.closed) == (0, 0)
    assert deployment.live.service is before
    deployment.ask()
    assert len(deployment.sink.records) == 1


def test_a_prepared_set_that_is_dropped_is_closed(deployment: Deployment) -> None:
    new = deployment.replace_signer()
    deployment.live.prepare(deployment.settings)
    deployment.live.abort()
    assert new.closed == 1
    deployment.ask()
    assert deployment.signer.closed == 0


def test_times_go_on_increasing_across_a_reload() -> None:
    """The clock stands still: the first token of the new set must not repeat the last time of the old one."""
    deployment = Deployment(ordering=True, fraction_digits=3)
    try:
        deployment.clock.set(datetime(2030, 1, 1, tzinfo=UTC))
        first = deployment.live.service.authority.profiles["default"].read_clock()
        deployment.replace_signer()
        deployment.reload()
        second = deployment.live.service.authority.profiles["default"]
        with pytest.raises(Exception, match="stands still"):
            second.read_clock()
        deployment.clock.set(first.time + timedelta(milliseconds=1))
        assert second.read_clock().time > first.time
    finally:
        deployment.live.close()


def test_holdover_goes_on_across_a_reload() -> None:
    """The gate after the reload knows the good measurement of the monitor that it has in common with the old one."""
    monitor = FakeMonitor(trusted=True)
    deployment = Deployment(monitors=[monitor])
    try:
        anchor = ClockAnchor.take(deployment.clock)
        monitor.current = ClockVerdict(
            trusted=True, reason="", offset=timedelta(0), checked_at=anchor.monotonic, anchor=anchor
        )
        gate = deployment.live.service.clock.gate
        assert gate.status().state is ClockState.SYNCHRONISED
        monitor.current = ClockVerdict(
            trusted=False, measured=False, reason="too few time servers answer", checked_at=anchor.monotonic
        )
        assert gate.status().state is ClockState.HOLDOVER
        wait_until(lambda: len(deployment.sink.events) >= 1, seconds=5, what="the audit trail knows")
        before = len(deployment.sink.events)
        deployment.replace_signer()
        deployment.reload()
        assert deployment.live.service.clock.gate is not gate
        assert deployment.live.service.clock.gate.status().state is ClockState.HOLDOVER
        assert monitor.stopped == 0
        deployment.ask()
        assert len(deployment.sink.records) == 1
        states = [event.details["state"] for event in deployment.sink.events[before:] if event.kind == "clock.state"]
        assert "unsynchronised" not in states
    finally:
        deployment.live.close()
    assert monitor.stopped == 1


def test_earlier_chains_follow_the_profile(deployment: Deployment) -> None:
    service = deployment.live.service
    assert service.earlier_chains == {"default": ()}
    deployment.replace_signer()
    deployment.reload()
    assert deployment.live.service.earlier_chains == {"default": ()}, "the same chain is no former one"


def test_a_new_certificate_is_an_audit_event(deployment: Deployment) -> None:
    deployment.reload()
    told = deployment.sink.events
    wait_until(lambda: "service.reloaded" in [event.kind for event in told], seconds=10, what="the reload in the trail")
    assert [event.kind for event in told].count("profile.certificate") == 1, "the same key again is no event"
    told.clear()
    deployment.signers["p256"] = TestSigner("p384")
    old = deployment.live.service.authority.profiles["default"].chain.leaf
    deployment.reload()
    new = deployment.live.service.authority.profiles["default"].chain.leaf
    wait_until(lambda: len(told) == 2, seconds=10, what="the reload and the certificate in the trail")
    event = told[1]
    assert event.kind == "profile.certificate"
    assert event.details["profile"] == "default"
    assert event.details["previous_certificate_serial_number"] == f"{old.serial_number:x}"
    assert event.details["certificate_serial_number"] == f"{new.serial_number:x}"
    assert event.details["previous_certificate_sha256"] == old.fingerprint(SHA256()).hex()
    assert event.details["pid"] == str(os.getpid())
    assert old != new
    assert len(deployment.live.service.earlier_chains["default"]) == 1


def test_unknown_tables_are_refused_at_a_reload(deployment: Deployment) -> None:
    wrong = deployment.settings.model_copy(update={"signer": {"nobody": {}}})
    with pytest.raises(ConfigError, match=r"\[signer.nobody\] is the table of a plugin that is not installed"):
        deployment.reload(wrong)
    deployment.ask()
    assert deployment.replies


def test_plugins_are_closed_after_the_longest_time_that_a_request_can_take() -> None:
    """It waits for a thread, for its signature and for each sink, and holds the configuration meanwhile."""
    waited: list[float] = []

    class Idle(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            waited.append(timeout)
            return True

    limits = {"audit": {"sink_timeout": "4s"}}
    profile = {"default": {"signer_timeout": "1s"}}
    service = open_service(
        Parts(sinks=[Sink(), Sink()]), profiles=profile, tables=limits, queue_timeout="60s", graceful_timeout="10ms"
    )
    _retire(service, Idle())
    assert waited[0] >= 60 + 1 + 2 * 4
