"""Countersignatures: another program verifies them, and all that protects tokens protects them."""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms
from prometheus_client import CollectorRegistry, generate_latest

from tests.authority.countersigned import VALUE, Events, asked, attributes, countersigner, refusal, signer_info
from tests.serving import Parts, TestClock, TestSigner, TestSink, open_service
from tsa_core.api import (
    AuditError,
    AuditEvent,
    ClockError,
    ConfigError,
    Identity,
    Observer,
    PKIFailureInfo,
    PolicySelector,
    RequestContext,
    RequestOutcome,
    RequestRejected,
    SignerError,
    TimeReading,
    TimeStampReq,
)
from tsa_core.authority import RequestTrace
from tsa_core.logs.access import AnsweredTogether, ConsoleAccessLog, JsonAccessLog
from tsa_core.logs.writer import LineWriter
from tsa_core.metrics.families import Families
from tsa_core.metrics.recorder import Recorder
from tsa_core.protocol import oids
from tsa_core.protocol.countersignature import CountersignatureTemplate
from tsa_core.testing import encode_request
from tsa_core.testing.programs import require_program

TIME = datetime(2026, 6, 15, 12, 0, 0, 999_999, tzinfo=UTC)


@pytest.mark.parametrize("kind", ["rsa-2048", "p256", "p384"])
def test_openssl_verifies_it_and_it_is_strict_der(kind: str, tmp_path: Path) -> None:
    openssl = require_program("openssl")
    signer = TestSigner(kind)
    with open_service(Parts(signers={"p256": signer})) as service:
        made = countersigner(service)
        der = made.countersign(VALUE, asked())
        (tmp_path / "root.pem").write_bytes(service.authority.profiles["default"].certificate_chain_pem)
    (tmp_path / "c.der").write_bytes(der)
    trust = ("-CAfile", tmp_path / "root.pem", "-purpose", "any")
    command: list[str | Path] = [openssl, "smime", "-verify", "-inform", "DER", "-in", tmp_path / "c.der", *trust]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, VALUE), done.stderr
    assert made.algorithm == signer.algorithm.name
    # Attributes are encoded again in DER order by openssl, so the order of ours is right; nothing else is in there.
    signed = attributes(der)
    assert set(signed) == {"content_type", "signing_time", "message_digest"}
    assert signed["content_type"] == "data"
    assert signed["message_digest"] == signer.algorithm.digest.digest(VALUE)


def test_certificates_are_the_issuers_too_whatever_tokens_carry() -> None:
    counts = {}
    for include in ("none", "leaf", "intermediates", "full"):
        with open_service(profiles={"default": {"include_chain": include}}) as service:
            der = countersigner(service).countersign(VALUE, asked())
        counts[include] = len(cms.ContentInfo.load(der)["content"]["certificates"])
    assert counts == {"none": 2, "leaf": 2, "intermediates": 2, "full": 3}


@pytest.mark.parametrize("fraction", [0, 1, 500_000, 999_999])
def test_signing_time_is_the_second_that_has_begun(fraction: int) -> None:
    time = TIME.replace(microsecond=fraction)
    with open_service(Parts(clock=TestClock(lambda: time)), profiles={"default": {"fraction_digits": 6}}) as service:
        der = countersigner(service).countersign(VALUE, asked())
    assert attributes(der)["signing_time"] == TIME.replace(microsecond=0)


def test_event_is_stored_before_it_leaves_and_identifies_it() -> None:
    sink, plain = Events(), TestSink()
    with open_service(Parts(clock=TestClock(lambda: TIME), sinks=[plain, sink])) as service:
        der = countersigner(service).countersign(VALUE, asked(identity=Identity(name="builder", tenant="acme")))
    assert sink.records == plain.records == []
    [event] = sink.events
    assert (event.kind, event.time) == ("countersignature", TIME)
    assert event.details == {
        "protocol": "test",
        "profile": "default",
        "signing_time": "2026-06-15T12:00:00Z",
        "hash": "sha256",
        "digest": hashlib.sha256(VALUE).hexdigest(),
        "algorithm": "ecdsa-sha256",
        "signer_info_sha256": hashlib.sha256(signer_info(der).dump()).hexdigest(),
        "request_id": "7",
        "client": "192.0.2.1",
        "identity": "builder",
        "tenant": "acme",
    }


@pytest.mark.parametrize("failure", [AuditError("the disk is full"), ValueError("a bug"), SystemExit(3)])
def test_nothing_leaves_when_a_sink_fails(failure: BaseException) -> None:
    sink = Events()
    with open_service(Parts(sinks=[sink])) as service:
        signs = countersigner(service)
        sink.failure = failure  # type: ignore[assignment] # SystemExit too
        rejection = refusal(signs)
        assert rejection.failure is PKIFailureInfo.SYSTEM_FAILURE
        assert "disk" not in rejection.text
        assert [cause.check for cause in service.authority.causes if cause.reason] == ["audit:sink0"]
        sink.failure = None
        signs.countersign(VALUE, asked())
        assert not [cause for cause in service.authority.causes if cause.reason]
    assert len(sink.events) == 1
    assert [(each.failure, each.digest) for each in sink.refusals] == [
        (PKIFailureInfo.SYSTEM_FAILURE, hashlib.sha256(VALUE).digest())
    ]


def test_a_sink_that_hangs_costs_no_more_than_its_time() -> None:
    go = threading.Event()

    class Hanging(Events):
        def event(self, event: AuditEvent) -> None:
            if event.kind == "countersignature":
                go.wait()

    tables = {"audit": {"sink_timeout": "100ms"}}
    with open_service(Parts(sinks=[Hanging()]), tables=tables) as service:
        try:
            assert refusal(countersigner(service)).failure is PKIFailureInfo.SYSTEM_FAILURE
        finally:
            go.set()


def test_a_sink_that_returns_something_is_wrong() -> None:
    class Wrong(Events):
        def event(self, event: AuditEvent) -> None:
            return 7 if event.kind == "countersignature" else None  # type: ignore[return-value] # the mistake

    with open_service(Parts(sinks=[Wrong()])) as service:
        assert refusal(countersigner(service)).failure is PKIFailureInfo.SYSTEM_FAILURE


def test_without_a_sink_that_keeps_events_it_is_refused_at_start() -> None:
    with (
        open_service(Parts(sinks=[TestSink()])) as service,
        pytest.raises(ConfigError, match="no audit sink keeps events, so nothing would tell what was countersigned"),
    ):
        countersigner(service)


def test_closed_clock_gate_refuses_and_nothing_is_signed() -> None:
    clock, sink, signer = TestClock(), Events(), TestSigner()
    with open_service(Parts(clock=clock, sinks=[sink], signers={"p256": signer})) as service:
        signs = countersigner(service)
        signer.go_down()  # whoever asks it now is told of systemFailure

        def fail() -> datetime:
            raise ClockError("the clock has stopped")

        clock.read = fail
        rejection = refusal(signs)
    assert (rejection.failure, rejection.text) == (PKIFailureInfo.TIME_NOT_AVAILABLE, "the clock has stopped")
    assert sink.events == []


def test_clock_that_is_less_accurate_than_promised_refuses_although_tokens_may_say_so() -> None:
    class Vague(TestClock):
        def now(self) -> TimeReading:
            return TimeReading(self.read(), timedelta(seconds=2))

    tables = {"clock": {"widen_accuracy": True}}
    with open_service(Parts(clock=Vague()), tables=tables) as service:
        assert service.authority.respond(encode_request(b""), RequestContext()).rejection is None
        rejection = refusal(countersigner(service))
    assert rejection.failure is PKIFailureInfo.TIME_NOT_AVAILABLE
    assert "more than the accuracy" in rejection.text


def test_measured_bound_is_in_the_trail() -> None:
    class Measured(TestClock):
        def now(self) -> TimeReading:
            return TimeReading(self.read(), timedelta(milliseconds=2))

    sink = Events()
    measured = {"accuracy": "measured", "fraction_digits": 3}
    with open_service(Parts(clock=Measured(), sinks=[sink]), profiles={"default": measured}) as service:
        countersigner(service).countersign(VALUE, asked())
    assert sink.events[0].details["clock_error_bound_us"] == "2000"


def test_outside_the_period_of_the_certificates_it_refuses() -> None:
    clock = TestClock()
    with open_service(Parts(clock=clock)) as service:
        signs = countersigner(service)
        clock.set(service.authority.profiles["default"].not_after + timedelta(seconds=1))
        rejection = refusal(signs)
    assert rejection.failure is PKIFailureInfo.SYSTEM_FAILURE
    assert "a certificate of the chain is not valid now" in rejection.text


def test_signer_that_fails_says_nothing_of_itself() -> None:
    signer = TestSigner()
    with open_service(Parts(signers={"p256": signer})) as service:
        signs = countersigner(service)
        signer.go_down()
        available = [service.authority.profiles["default"].available]
        rejection = refusal(signs)
        available.append(service.authority.profiles["default"].available)
        signer.come_back()
        signs.countersign(VALUE, asked())
        available.append(service.authority.profiles["default"].available)
    assert available == [True, False, True]
    assert rejection.failure is PKIFailureInfo.SYSTEM_FAILURE
    assert "secret" not in rejection.text


def test_signer_that_hangs_is_given_up_in_time() -> None:
    go = threading.Event()

    class Hanging(TestSigner):
        waits = False

        def sign(self, message: bytes, *, timeout: float) -> bytes:
            if self.waits:
                go.wait()
            return super().sign(message, timeout=timeout)

    signer = Hanging()
    with open_service(Parts(signers={"p256": signer}), profiles={"default": {"signer_timeout": "100ms"}}) as service:
        signs = countersigner(service)
        signer.waits = True
        try:
            assert refusal(signs).failure is PKIFailureInfo.SYSTEM_FAILURE
        finally:
            go.set()


def test_selector_may_refuse_and_cannot_choose_another_profile() -> None:
    class Selector(PolicySelector):
        latency = "local"

        def __init__(self) -> None:
            self.seen: list[tuple[TimeStampReq, RequestContext]] = []

        def select(self, request: TimeStampReq, context: RequestContext) -> str | None:
            self.seen.append((request, context))
            if context.header("X-Bad"):
                raise RequestRejected(PKIFailureInfo.BAD_REQUEST, "not from there")
            return "other"

    selector, sink = Selector(), Events()
    with open_service(Parts(selectors=[selector], sinks=[sink]), profiles={"other": {}}) as service:
        signs = countersigner(service)
        seen = len(selector.seen)
        signs.countersign(VALUE, asked())
        assert refusal(signs, header=lambda _name: "x").text == "not from there"
    [(request, context), _] = selector.seen[seen:]
    assert (request.hash_oid, request.digest) == (oids.SHA256, hashlib.sha256(VALUE).digest())
    assert (context.profile, context.client_address, context.request_id) == ("default", "192.0.2.1", "7")
    assert [event.details["profile"] for event in sink.events] == ["default"]


def test_identity_that_may_not_use_the_profile_is_refused() -> None:
    with open_service(profiles={"other": {}}) as service:
        who = Identity(name="builder", profiles=frozenset({"other"}))
        assert refusal(countersigner(service), identity=who).failure is PKIFailureInfo.BAD_REQUEST
        countersigner(service, "other").countersign(VALUE, asked(identity=who))


@pytest.mark.parametrize(
    ("profile", "settings", "sha1", "said"),
    [
        ("nothing", {}, False, "there is no profile 'nothing'; there are: default"),
        ("default", {"conformance": "sigstore"}, False, r"conform to sigstore \(profiles.default.conformance\)"),
        ("default", {}, True, "cannot sign SHA-1 digests: that takes an RSA key without PSS"),
    ],
)
def test_profile_that_must_not_or_cannot(profile: str, settings: dict[str, Any], sha1: bool, said: str) -> None:
    with open_service(profiles={"default": settings}) as service, pytest.raises(ConfigError, match=said):
        countersigner(service, profile, sha1=sha1)


def test_key_of_a_profile_with_a_conformance_countersigns_for_no_other() -> None:
    parts = Parts(signers={"p256": TestSigner(), "rsa": TestSigner("rsa-2048")})
    profiles = {"default": {"conformance": "sigstore"}, "same": {}, "other": {"signer": "test:rsa"}}
    with open_service(parts, profiles=profiles) as service:
        with pytest.raises(ConfigError, match=r"the key of the profile 'same' .*\(profiles.default.conformance\)"):
            countersigner(service, "same")
        countersigner(service, "other").countersign(VALUE, asked())


def test_sha1_is_of_the_same_key_and_of_no_token() -> None:
    signer, sink = TestSigner("rsa-2048"), Events()
    with open_service(Parts(signers={"p256": signer}, sinks=[sink])) as service:
        signs = countersigner(service, sha1=True)
        der = signs.countersign(VALUE, asked())
        info = signer_info(der)
        assert signs.algorithm == sink.events[0].details["algorithm"] == "rsa-pkcs1v15-sha1"
        assert attributes(der)["message_digest"] == hashlib.sha1(VALUE).digest()
        assert info["digest_algorithm"]["algorithm"].native == "sha1"
        profile = service.authority.profiles["default"]
        assert profile.algorithm.name == "rsa-pkcs1v15-sha256"
        reply = service.authority.respond(encode_request(b"x"), RequestContext())
        assert oids.SHA256 in {each["algorithm"].dotted for each in token_digests(reply.der)}


def token_digests(reply: bytes) -> Any:
    from asn1crypto import tsp

    return tsp.TimeStampResp.load(reply)["time_stamp_token"]["content"]["digest_algorithms"]


def test_sha1_that_the_library_forbids_is_found_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forbidding(TestSigner):
        def with_sha1(self) -> TestSigner:
            other = TestSigner("rsa-2048")
            other.failure = SignerError("no SHA-1 here")
            return other

    parts = Parts(signers={"p256": Forbidding("rsa-2048")})
    with open_service(parts) as service, pytest.raises(SignerError, match="no SHA-1 here"):
        countersigner(service, sha1=True)


def test_observers_are_told_and_it_has_no_serial_number() -> None:
    told: list[RequestOutcome] = []

    class Every(Observer):
        def observe(self, outcome: RequestOutcome) -> None:
            told.append(outcome)

    trace = RequestTrace()
    with open_service(Parts(observers=[Every()], sinks=[Events()])) as service:
        countersigner(service).countersign(VALUE, asked(trace=trace))
    [outcome] = told
    assert (outcome.failure, outcome.serial_number, outcome.hash_name) == (None, None, "sha256")
    assert list(outcome.phases_ns) == ["parse", "clock", "sign", "audit"]
    assert trace.granted
    assert trace.serial_number is None


def test_metrics_and_access_log_tell_it_from_a_token() -> None:
    registry = CollectorRegistry()
    traces = [RequestTrace(), RequestTrace()]
    with open_service() as service:
        recorder = Recorder(Families(registry), service)
        countersigner(service).countersign(VALUE, asked(trace=traces[0]))
        service.authority.respond(encode_request(b"x"), RequestContext(), traces[1])
        for trace in traces:
            recorder.begin()
            recorder.end(route="/sign", method="POST", code="200", duration_ns=1, trace=trace)
        recorder.bring_up_to_date()
    scraped = generate_latest(registry).decode()
    assert 'timestamp_authority_countersignatures_total{profile="default"} 1.0' in scraped
    assert 'timestamp_authority_tokens_total{profile="default"} 1.0' in scraped
    assert 'timestamp_authority_signatures_total{algorithm="ecdsa-sha256",outcome="signed"} 2.0' in scraped
    writer = LineWriter(2)  # formats only
    answered = AnsweredTogether(0, "POST", "/sign", 1, [(trace, "200", "192.0.2.1", "7") for trace in traces])
    mine, token = (json.loads(line) for line in JsonAccessLog(writer).lines(answered).splitlines())
    texts = ConsoleAccessLog(writer).lines(answered).splitlines()
    assert (mine["outcome"], mine["serial"]) == ("granted", None)
    assert len(token["serial"]) == 40
    assert [" countersigned " in text for text in texts] == [True, False]


def test_crash_is_one_line_and_a_refusal(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_service() as service:
        signs = countersigner(service)
        monkeypatch.setattr(CountersignatureTemplate, "encode", lambda *_: 1 / 0)
        with caplog.at_level(logging.ERROR):
            assert refusal(signs).failure is PKIFailureInfo.SYSTEM_FAILURE
    assert "unexpected failure" in caplog.text
