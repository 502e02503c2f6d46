"""What a process counts by itself is what prometheus_client would have counted."""

from __future__ import annotations

import threading
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, Summary, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.conformance.plain_encoder import PlainRequest
from tests.serving import Parts, TestClock, TestSigner, TestSink, open_service
from tsa_core.api import (
    AuditError,
    ClockAnchor,
    ClockMonitor,
    ClockVerdict,
    PKIFailureInfo,
    RequestContext,
    RequestRejected,
)
from tsa_core.authority import BatchGuard, RequestTrace
from tsa_core.http import create_app
from tsa_core.http.observability import RequestTracingMiddleware
from tsa_core.metrics.families import SECONDS, Families
from tsa_core.metrics.recorder import Recorder
from tsa_core.metrics.tally import Tally
from tsa_core.service import Service

GOOD = PlainRequest().encode()


def samples(registry: CollectorRegistry) -> dict[str, float]:
    """Return every sample by name and labels, as they are written."""
    found = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name.removeprefix('timestamp_authority_')}{{{labels}}}"] = sample.value
    return found


durations = st.one_of(
    st.integers(0, 20_000_000_000), st.sampled_from([round(bound * 1e9) + by for bound in SECONDS for by in (-1, 0, 1)])
)


@given(st.lists(st.lists(durations)))
def test_a_tally_is_a_histogram_and_a_summary(rounds: list[list[int]]) -> None:
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    histogram, summary = Histogram("h", "", registry=theirs, buckets=SECONDS), Summary("s", "", registry=theirs)
    our_histogram, our_summary = Histogram("h", "", registry=ours, buckets=SECONDS), Summary("s", "", registry=ours)
    tally = Tally()
    for each in rounds:
        for duration_ns in each:
            histogram.observe(duration_ns / 1e9)
            summary.observe(duration_ns / 1e9)
        for duration_ns in each[:2]:
            tally.add(duration_ns)
        if each[2:]:
            tally.add_all(each[2:])
        taken = tally.take()
        taken.add_to_histogram(our_histogram)
        taken.add_to_summary(our_summary)
    expected, found = samples(theirs), samples(ours)
    assert {key for key in found if "created" not in key} == {key for key in expected if "created" not in key}
    for key, value in expected.items():
        if "created" not in key:
            assert abs(found[key] - value) < 1e-6 * max(1, value), key


class Watch:
    """A service with its recorder, and a registry of its own."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.registry = CollectorRegistry()
        self.recorder = Recorder(Families(self.registry), service)

    def post(self, body: bytes, *, code: str = "200") -> RequestTrace:
        self.recorder.begin()
        trace = RequestTrace()
        self.service.authority.respond(body, RequestContext(), trace)
        self.end(trace, code=code)
        return trace

    def end(self, trace: RequestTrace, *, route: str | None = "/r", method: str = "POST", code: str = "200") -> None:
        self.recorder.end(route=route, method=method, code=code, duration_ns=2_000_000, trace=trace)

    def samples(self) -> dict[str, float]:
        self.recorder.bring_up_to_date()
        return samples(self.registry)


def test_outcomes_are_counted_by_what_became_of_them() -> None:
    signer, sink = TestSigner(), TestSink()
    with open_service(Parts(signers={"p256": signer}, sinks=[sink])) as service:
        watch = Watch(service)
        granted = [watch.post(GOOD) for _ in range(3)]
        watch.post(PlainRequest(hash_name="sha1", digest=bytes(20)).encode())
        watch.post(b"nonsense")
        signer.go_down()
        watch.post(GOOD)
        assert watch.samples()["signer_available{profile=default}"] == 0
        signer.come_back()
        sink.failure = AuditError("full")
        watch.post(GOOD)
        found = watch.samples()
    assert found["tokens_total{profile=default}"] == 3
    assert found["signatures_total{algorithm=ecdsa-sha256,outcome=signed}"] == 4
    assert found["signatures_total{algorithm=ecdsa-sha256,outcome=failed}"] == 1
    assert found["signer_latency_seconds_count{profile=default}"] == 5
    assert found["audit_latency_seconds_count{profile=default}"] == 4
    rejections = {failure.text: found[f"rejections_total{{failure={failure.text}}}"] for failure in PKIFailureInfo}
    assert {name: count for name, count in rejections.items() if count} == {
        "badAlg": 1,
        "badDataFormat": 1,
        "systemFailure": 2,
    }
    assert found["queue_refusals_total{}"] == 0
    assert found["http_requests_total{code=200,method=POST,path=/r}"] == 7
    assert found["signer_available{profile=default}"] == 1
    sign_ns = sum(trace.sign_ns or 0 for trace in granted)
    assert found["signer_latency_seconds_sum{profile=default}"] >= sign_ns / 1e9 > 0


def test_requests_that_are_answered_together_are_counted_as_each_alone_is() -> None:
    with open_service(Parts(sinks=[TestSink()])) as service:
        alone, together = Watch(service), Watch(service)
        traces = [RequestTrace() for _ in range(6)]
        bodies = [GOOD, b"nonsense", GOOD, GOOD, PlainRequest(hash_name="sha1", digest=bytes(20)).encode(), GOOD]
        for body, trace in zip(bodies, traces, strict=True):
            service.authority.respond(body, RequestContext(), trace)
        ended_ns = traces[-1].ended + 5
        answered = [(trace, "200" if trace.failure else "201", "192.0.2.1", "id") for trace in traces]
        for watch in (alone, together):
            for _ in traces:
                watch.recorder.begin()
        assert together.samples()["requests_in_flight{}"] == 6
        together.recorder.end_together(route="/r", method="POST", ended_ns=ended_ns, answered=answered)
        for trace, code, _, _ in answered:
            alone.recorder.end(route="/r", method="POST", code=code, duration_ns=ended_ns - trace.started, trace=trace)
        expected, found = alone.samples(), together.samples()
    kept = [name for name in expected if "created" not in name and not name.startswith(("clock_", "valid_days"))]
    assert {name: found[name] for name in kept} == pytest.approx({name: expected[name] for name in kept})
    assert found["tokens_total{profile=default}"] == 4
    assert found["requests_in_flight{}"] == 0


def test_batches_before_and_after_a_reload_are_counted_apart() -> None:
    with open_service(Parts(sinks=[TestSink()])) as service:
        watch = Watch(service)
        traces = [RequestTrace() for _ in range(3)]
        for trace in traces:
            service.authority.respond(GOOD, RequestContext(), trace)
        traces[0].audit_began = traces[0].audit_ended = 0  # the service before had no sink
        traces[2].algorithm = "ed25519"  # and this one has another key since
        for trace in traces:
            watch.recorder.begin()
            watch.recorder.end_together(
                route="/r", method="POST", ended_ns=trace.ended, answered=[(trace, "200", "192.0.2.1", "id")]
            )
        found = watch.samples()
    assert found["tokens_total{profile=default}"] == 3
    assert found["signatures_total{algorithm=ecdsa-sha256,outcome=signed}"] == 2
    assert found["signatures_total{algorithm=ed25519,outcome=signed}"] == 1
    assert found["audit_latency_seconds_count{profile=default}"] == 2
    assert 0 <= found["audit_latency_seconds_sum{profile=default}"] < 60
    assert found["requests_in_flight{}"] == 0


def test_small_batches_are_counted_when_there_are_32_requests_of_them() -> None:
    with open_service() as service:
        watch = Watch(service)
        trace = RequestTrace()
        service.authority.respond(GOOD, RequestContext(), trace)
        answered = [(trace, "200", "192.0.2.1", "id")] * 5
        waiting = []
        for _ in range(9):
            for _ in answered:
                watch.recorder.begin()
            watch.recorder.end_together(route="/r", method="POST", ended_ns=trace.ended, answered=answered)
            waiting.append(sum(len(batch) for *_, batch in watch.recorder._together))
        assert waiting == [5, 10, 15, 20, 25, 30, 0, 5, 10]
        assert watch.samples()["http_requests_total{code=200,method=POST,path=/r}"] == 45
        assert watch.samples()["requests_in_flight{}"] == 0


def test_durations_are_seconds() -> None:
    with open_service() as service:
        watch = Watch(service)
        watch.post(GOOD)
        found = watch.samples()
    for name in ("api_latency_sum{code=200,path=/r}", "latency_by_api_sum{method=POST,path=/r}"):
        assert found[name] == 0.002
    assert found["api_latency_summary_sum{code=200,path=/r}"] == 0.002
    assert found["api_latency_bucket{code=200,le=0.001,path=/r}"] == 0
    assert found["api_latency_bucket{code=200,le=0.0025,path=/r}"] == 1


def test_labels_are_bounded_whatever_is_asked() -> None:
    with open_service() as service:
        watch = Watch(service)
        for number in range(500):
            watch.recorder.begin()
            watch.end(RequestTrace(), route=None, method=f"BREW{number}", code="404")
        found = watch.samples()
    series = [name for name in found if name.startswith("http_requests_total")]
    assert series == ["http_requests_total{code=404,method=unrecognized,path=unrecognized}"]
    assert found[series[0]] == 500


def test_a_request_that_waited_too_long_is_a_queue_refusal() -> None:
    with open_service() as service:
        watch = Watch(service)
        watch.recorder.begin()
        trace = RequestTrace()
        refusal = RequestRejected(PKIFailureInfo.SYSTEM_FAILURE, "too many")
        service.authority.refuse(refusal, RequestContext(), trace, waited=True)
        watch.end(trace)
        found = watch.samples()
    assert found["queue_refusals_total{}"] == found["rejections_total{failure=systemFailure}"] == 1


def test_requests_in_flight_are_those_that_have_begun() -> None:
    with open_service() as service:
        watch = Watch(service)
        watch.recorder.begin()
        watch.recorder.begin()
        assert watch.samples()["requests_in_flight{}"] == 2
        watch.end(RequestTrace())
        watch.end(RequestTrace())
        assert watch.samples()["requests_in_flight{}"] == 0


def test_threads_lose_no_count() -> None:
    with open_service() as service:
        watch = Watch(service)
        stop = threading.Event()

        def scrape() -> None:
            while not stop.is_set():
                watch.recorder.bring_up_to_date()

        def count() -> None:
            for _ in range(2000):
                watch.recorder.begin()
                watch.end(RequestTrace())

        threads = [threading.Thread(target=count) for _ in range(4)]
        scraper = threading.Thread(target=scrape)
        for thread in (scraper, *threads):
            thread.start()
        for thread in threads:
            thread.join()
        stop.set()
        scraper.join()
        found = watch.samples()
    assert found["http_requests_total{code=200,method=POST,path=/r}"] == 8000
    assert found["api_latency_count{code=200,path=/r}"] == 8000


class Told(ClockMonitor):
    """Says what a test wants."""

    def __init__(self) -> None:
        self.told = ClockVerdict(trusted=False, reason="nothing yet")

    def start(self, clock: Any) -> None:
        self.clock = clock

    def tell(self, *, trusted: bool, offset: float) -> None:
        anchor = ClockAnchor.take(self.clock)
        self.told = ClockVerdict(
            trusted=trusted,
            reason="",
            offset=timedelta(seconds=offset),
            uncertainty=timedelta(seconds=0.002),
            checked_at=anchor.monotonic,
            anchor=anchor,
        )

    def verdict(self) -> ClockVerdict:
        return self.told

    def stop(self) -> None:
        pass


def test_the_clock_s_state_and_offset_are_shown() -> None:
    monitor = Told()
    with open_service(Parts(clock=TestClock(), monitors=[monitor])) as service:
        watch = Watch(service)
        found = watch.samples()
        assert (found["clock_state{state=unsynchronised}"], found["clock_issuing{}"]) == (1, 0)
        assert str(found["clock_offset_seconds{}"]) == "nan"
        monitor.tell(trusted=True, offset=-0.0125)
        found = watch.samples()
    states = {name: value for name, value in found.items() if name.startswith("clock_state{") and value}
    assert states == {"clock_state{state=synchronised}": 1}
    assert found["clock_issuing{}"] == 1
    assert abs(found["clock_offset_seconds{}"] + 0.0125) < 0.001
    assert 0.0145 <= found["clock_error_bound_seconds{}"] < 0.1


def test_the_certificate_s_end_is_shown() -> None:
    with open_service() as service:
        profile = service.authority.profiles["default"]
        found = Watch(service).samples()
        days = (profile.not_after.timestamp() - profile.not_before.timestamp()) / 86_400
    assert found["certificate_not_after_seconds{profile=default}"] == profile.not_after.timestamp()
    assert 0 < found["certificate_valid_days_remaining{}"] <= days


def test_what_stops_tokens_is_shown_by_its_name_at_readyz() -> None:
    sink = TestSink()
    with open_service(Parts(sinks=[sink])) as service:
        watch = Watch(service)
        found = watch.samples()
        assert {name: value for name, value in found.items() if "ready{" in name} == {
            "ready{}": 1,
            **{f"not_ready{{check={name}}}": 0 for name in ("signer:default", "certificate:default", "clock")},
            "not_ready{check=audit:sink0}": 0,
            "not_ready{check=policy:oid}": 0,
            "not_ready{check=signer:I/O thread}": 0,
        }
        sink.failure = AuditError("full")
        watch.post(GOOD)
        found = watch.samples()
        assert (found["ready{}"], found["not_ready{check=audit:sink0}"], found["audit_healthy{sink=sink0}"]) == (
            0,
            1,
            0,
        )
        watch.recorder.follow(lambda: other)
        with open_service() as other:
            found = watch.samples()
    assert (found["ready{}"], found["not_ready{check=audit:sink0}"]) == (1, 0)


def test_profiles_that_a_reload_has_removed_raise_no_alarm() -> None:
    with open_service(profiles={"old": {}}) as before, open_service() as after:
        watch = Watch(before)
        found = watch.samples()
        assert found["certificate_not_after_seconds{profile=old}"] > 0
        watch.recorder.follow(lambda: after)
        found = watch.samples()
    assert str(found["certificate_not_after_seconds{profile=old}"]) == "nan"
    assert str(found["signer_available{profile=old}"]) == "nan"
    assert found["signer_available{profile=default}"] == 1


def test_a_request_that_comes_and_goes_while_others_are_counted_is_not_in_flight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with open_service() as service:
        watch = Watch(service)
        count_begun = watch.recorder._count_begun

        def interrupted() -> None:
            count_begun()
            watch.post(GOOD)  # as another thread may

        with monkeypatch.context() as patched:
            patched.setattr(watch.recorder, "_count_begun", interrupted)
            assert watch.samples()["requests_in_flight{}"] >= 0
        assert watch.samples()["requests_in_flight{}"] == 0


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_reply_whose_connection_fails_costs_the_others_of_its_batch_nothing(failing: int) -> None:
    sent = []

    def fail(*_: object) -> None:
        raise MemoryError

    with open_service() as service:
        watch = Watch(service)
        app: Any = create_app(service, RequestTracingMiddleware(watch.recorder, None, request_id_header="x-request-id"))
        environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/api/v1/timestamp", "CONTENT_LENGTH": str(len(GOOD))}
        app.learn(b"head", {**environ, "CONTENT_TYPE": "application/timestamp-query"}, closes=False)
        batch = [app.usual_heads[b"head"].begin(GOOD, "192.0.2.1") for _ in range(3)]
        for number, begun in enumerate(batch):
            answer = fail if number == failing else lambda *reply: sent.append(reply)
            begun.connection = SimpleNamespace(answer_usual=answer)
        with pytest.raises(MemoryError):
            batch[0].responder.respond(batch, BatchGuard())
        found = watch.samples()
    assert [each.answered for each in batch] == [number != failing for number in range(3)]
    assert [request for _, _, request, _ in sent] == [each for each in batch if each.answered]
    assert found["tokens_total{profile=default}"] == 3
    assert found["requests_in_flight{}"] == 0
