"""Observers are told of every request, and change nothing."""

from __future__ import annotations

import threading

import pytest
from falcon.testing import create_environ

from tests.conformance.plain_encoder import PlainRequest
from tests.conformance.replies import granted, refused
from tests.serving import Parts, TestSigner, TestSink, open_service, running_server
from tsa_core.api import AuditError, Observer, PKIFailureInfo, RequestContext, RequestOutcome
from tsa_core.http import create_app
from tsa_core.http.thread_pools import QUEUED_SECONDS
from tsa_core.testing import ends_within, wait_until


class Notes(Observer):
    """Keeps what it is told, and crashes when it is told to."""

    def __init__(self, crash: BaseException | None = None) -> None:
        self.outcomes: list[RequestOutcome] = []
        self.crash = crash
        self.crashed = threading.Event()

    def observe(self, outcome: RequestOutcome) -> None:
        if self.crash:
            self.crashed.set()
            raise self.crash
        self.outcomes.append(outcome)


GOOD = PlainRequest().encode()


def test_observers_are_told_of_every_request() -> None:
    notes, signer = Notes(), TestSigner()
    with open_service(Parts(signers={"p256": signer}, observers=[notes])) as service:

        def respond(body: bytes) -> bytes:
            return service.authority.respond(body, RequestContext(request_id="7", client_address="192.0.2.1")).der

        reply = granted(respond(GOOD))
        refused(respond(PlainRequest(hash_name="sha1", digest=bytes(20)).encode()), "03020780")
        refused(respond(b"nonsense"), "03020204")
        signer.go_down()
        refused(respond(GOOD), "03050600000040")
    first, weak, malformed, down = notes.outcomes
    assert {(one.request_id, one.client_address) for one in notes.outcomes} == {("7", "192.0.2.1")}
    assert all(one.duration_ns > 0 for one in notes.outcomes)
    assert (first.failure, first.profile, first.hash_name) == (None, "default", "sha256")
    assert first.serial_number == reply.tst_info["serial_number"].native
    assert list(first.phases_ns) == list(first.offsets_ns) == ["parse", "clock", "sign"]
    assert 0 < sum(first.phases_ns.values()) <= first.duration_ns
    assert sorted(first.offsets_ns.values()) == list(first.offsets_ns.values())
    assert (first.algorithm, first.failed_phase, first.reason) == ("ecdsa-sha256", None, "")
    assert (weak.failure, weak.hash_name, weak.serial_number) == (PKIFailureInfo.BAD_ALG, "sha1", None)
    assert (malformed.failure, malformed.hash_name) == (PKIFailureInfo.BAD_DATA_FORMAT, None)
    assert (malformed.failed_phase, list(malformed.phases_ns)) == (None, [])
    assert (weak.profile, weak.reason[:18]) == ("default", "the hash algorithm")
    assert (down.failure, down.failed_phase) == (PKIFailureInfo.SYSTEM_FAILURE, "sign")
    assert (down.algorithm, down.serial_number) == (first.algorithm, None)


@pytest.mark.parametrize("crash", [RuntimeError("full"), SystemExit(3), KeyboardInterrupt()])
def test_an_observer_that_crashes_changes_nothing_and_is_told_on(crash: BaseException) -> None:
    broken, notes = Notes(crash), Notes()
    with open_service(Parts(observers=[broken, notes])) as service:
        granted(service.authority.respond(GOOD, RequestContext()).der)
        assert broken.crashed.wait(60)
        broken.crash = None
        refused(service.authority.respond(b"", RequestContext()).der, "03020204")
    assert len(notes.outcomes) == 2
    assert [one.failure for one in broken.outcomes] == [PKIFailureInfo.BAD_DATA_FORMAT]


class HangingObserver(Notes):
    """Takes its first note when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.hangs = threading.Event()

    def observe(self, outcome: RequestOutcome) -> None:
        self.hangs.set()
        self.go.wait(60)
        super().observe(outcome)


def test_an_observer_that_hangs_delays_no_request_and_what_it_misses_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hanging, notes = HangingObserver(), Notes()
    with running_server(Parts(observers=[hanging, notes]), tables={"observe": {"queue_limit": 3}}) as server:
        assert server.service is not None
        granted(server.post(GOOD).body)
        assert hanging.hangs.wait(60)
        for number in range(5):
            granted(server.post(GOOD).body)
            wait_until(lambda told=number + 2: len(notes.outcomes) == told, seconds=60, what="the other is told")  # type: ignore[misc] # a default binds it
        assert server.service.take_dropped_outcomes() == {"observer0": 2, "observer1": 0}
        assert server.service.take_dropped_outcomes() == {"observer0": 0, "observer1": 0}
        hanging.go.set()
    assert len(hanging.outcomes) == 4
    assert "the observer 'observer0' does not keep up: it was not told of 1 requests" in caplog.text


def test_the_end_does_not_wait_for_an_observer_that_hangs() -> None:
    hanging = HangingObserver()
    with ends_within(1), open_service(Parts(observers=[hanging])) as service:
        service.authority.respond(GOOD, RequestContext())
        assert hanging.hangs.wait(60)
    hanging.go.set()


def test_the_audit_is_a_phase_where_there_is_one_and_fails_as_one() -> None:
    notes, sink = Notes(), TestSink()
    with open_service(Parts(sinks=[sink], observers=[notes])) as service:
        granted(service.authority.respond(GOOD, RequestContext()).der)
        sink.failure = AuditError("the disk is full")
        refused(service.authority.respond(GOOD, RequestContext()).der, "03050600000040")
    good, lost = notes.outcomes
    assert list(good.phases_ns) == ["parse", "clock", "sign", "audit"]
    assert good.failed_phase is None
    assert (lost.failed_phase, lost.serial_number) == ("audit", None)


def test_observers_are_told_of_json_that_cannot_be_read() -> None:
    notes = Notes()
    with running_server(Parts(observers=[notes])) as server:
        assert server.post_json(b"{").status == 400
        assert server.post_json({"artifactHash": "AA==", "hashAlgorithm": "sha1"}).status == 400
        assert server.post_json({"artifactHash": "A" * 43 + "=", "hashAlgorithm": "sha256"}).status == 200
    assert [one.failure for one in notes.outcomes] == [PKIFailureInfo.BAD_DATA_FORMAT, PKIFailureInfo.BAD_ALG, None]
    assert notes.outcomes[0].request_id
    assert "parse" not in notes.outcomes[0].phases_ns
    assert "sign" in notes.outcomes[2].phases_ns


def test_observers_are_told_of_requests_that_waited_too_long() -> None:
    notes = Notes()
    with open_service(Parts(observers=[notes])) as service:
        app = create_app(service)
        environ = create_environ(
            "/api/v1/timestamp", method="POST", headers={"Content-Type": "application/timestamp-query"}, body="x"
        )
        app({**environ, QUEUED_SECONDS: 60.0}, lambda *_: lambda _data: None)
    (busy,) = notes.outcomes
    assert (busy.failure, busy.profile) == (PKIFailureInfo.SYSTEM_FAILURE, None)
    assert "waiting" in busy.reason
    assert busy.failed_phase == "wait"
