"""Traces and metrics as a collector receives them, from the observer and from whole servers."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from pydantic import ValidationError

from tsa_backends.otlp_receiver import OtlpReceiver, attributes
from tsa_core.api import Observer, PKIFailureInfo, RequestOutcome
from tsa_core.testing import ObserverContract, ProviderContract, ServerProcess, encode_request, ends_within, wait_until
from tsa_observer_otel import plugin as otel_plugin
from tsa_observer_otel.options import OtelOptions


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    made = OtlpReceiver()
    yield made
    made.close()


@pytest.fixture
def receiver_url(receiver: OtlpReceiver) -> str:
    return receiver.url


class TestOtelProvider(ProviderContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return otel_plugin

    @pytest.fixture
    def options(self, receiver_url: str) -> Mapping[str, Any]:
        return {"endpoint": receiver_url, "headers": {"Authorization": "Bearer secret"}}


class TestOtelObserver(ObserverContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return otel_plugin

    @pytest.fixture
    def options(self, receiver_url: str) -> Mapping[str, Any]:
        return {"endpoint": receiver_url}


def open_observer(receiver: OtlpReceiver | None = None, **options: Any) -> Observer:
    [provider] = otel_plugin.tsa_observers()
    endpoint = {"endpoint": receiver.url} if receiver else {}
    return provider.open(OtelOptions.model_validate({**endpoint, **options}))


GRANTED = RequestOutcome(
    request_id="id-1",
    client_address="192.0.2.7",
    profile="default",
    failure=None,
    hash_name="sha256",
    serial_number=0x5A5A,
    duration_ns=2_000_000,
    phases_ns={"parse": 10_000, "clock": 5_000, "sign": 1_500_000, "audit": 300_000},
    offsets_ns={"parse": 0, "clock": 20_000, "sign": 40_000, "audit": 1_600_000},
    algorithm="ecdsa-sha256",
)
SIGNER_DOWN = RequestOutcome(
    request_id="id-2",
    client_address="",
    profile="default",
    failure=PKIFailureInfo.SYSTEM_FAILURE,
    hash_name="sha256",
    serial_number=None,
    duration_ns=800_000,
    phases_ns={"parse": 10_000, "clock": 5_000, "sign": 700_000},
    offsets_ns={"parse": 0, "clock": 20_000, "sign": 40_000},
    failed_phase="sign",
    algorithm="ecdsa-sha256",
    reason="try again later",
)
WEAK = RequestOutcome(
    request_id="id-3",
    client_address="192.0.2.7",
    profile=None,
    failure=PKIFailureInfo.BAD_ALG,
    hash_name="sha1",
    serial_number=None,
    duration_ns=20_000,
    phases_ns={"parse": 10_000},
    offsets_ns={"parse": 0},
    reason="too weak",
)


def test_a_granted_request_is_a_span_with_its_phases_as_children(receiver: OtlpReceiver) -> None:
    observer = open_observer(receiver, service_name="my-tsa")
    before = time.time_ns()
    observer.observe(GRANTED)
    observer.close()
    ((span, children),) = receiver.requests()
    assert span.name == "timestamp"
    assert span.kind == Span.SPAN_KIND_SERVER
    assert span.end_time_unix_nano - span.start_time_unix_nano == GRANTED.duration_ns
    assert before <= span.end_time_unix_nano <= time.time_ns()
    assert span.status.code == Status.STATUS_CODE_UNSET
    assert attributes(span.attributes) == {
        "tsa.outcome": "granted",
        "tsa.request.id": "id-1",
        "client.address": "192.0.2.7",
        "tsa.profile": "default",
        "tsa.hash": "sha256",
        "tsa.serial": "5a5a",
        "tsa.signature.algorithm": "ecdsa-sha256",
    }
    assert list(children) == ["parse", "clock", "sign", "audit"]
    for name, child in children.items():
        assert child.trace_id == span.trace_id
        assert child.start_time_unix_nano - span.start_time_unix_nano == GRANTED.offsets_ns[name]
        assert child.end_time_unix_nano - child.start_time_unix_nano == GRANTED.phases_ns[name]
    (resource,) = receiver.resources()
    assert resource["service.name"] == "my-tsa"
    assert resource["service.version"]
    assert str(os.getpid()) in resource["service.instance.id"]


def test_what_failed_on_our_side_is_an_error_in_its_phase_and_a_refusal_is_none(receiver: OtlpReceiver) -> None:
    observer = open_observer(receiver)
    observer.observe(SIGNER_DOWN)
    observer.observe(WEAK)
    observer.close()
    (down, phases), (weak, weak_phases) = receiver.requests()
    assert (down.status.code, down.status.message) == (Status.STATUS_CODE_ERROR, "try again later")
    assert {name: child.status.code for name, child in phases.items()} == {
        "parse": Status.STATUS_CODE_UNSET,
        "clock": Status.STATUS_CODE_UNSET,
        "sign": Status.STATUS_CODE_ERROR,
    }
    assert "audit" not in phases
    assert attributes(down.attributes)["tsa.fail_info"] == "systemFailure"
    assert "client.address" not in attributes(down.attributes)
    assert weak.status.code == Status.STATUS_CODE_UNSET
    assert attributes(weak.attributes)["tsa.fail_info"] == "badAlg"
    assert attributes(weak.attributes)["tsa.outcome"] == "refused"
    assert list(weak_phases) == ["parse"]


def test_histograms_are_seconds(receiver: OtlpReceiver) -> None:
    observer = open_observer(receiver, traces=False)
    for outcome in (GRANTED, GRANTED, SIGNER_DOWN, WEAK):
        observer.observe(outcome)
    observer.close()
    assert not receiver.traces
    durations = {
        (facts["tsa.profile"], facts["tsa.outcome"]): point
        for point in receiver.histograms("tsa.request.duration")
        for facts in [attributes(point.attributes)]
    }
    granted = durations["default", "granted"]
    assert (granted.count, round(granted.sum, 9)) == (2, 0.004)
    assert list(granted.explicit_bounds)[:3] == [0.0001, 0.00025, 0.0005]
    assert durations["default", "systemFailure"].count == 1
    assert durations["unknown", "badAlg"].count == 1
    signed = {attributes(point.attributes)["tsa.failed"]: point for point in receiver.histograms("tsa.sign.duration")}
    assert (signed["false"].count, signed["true"].count) == (2, 1)
    assert round(signed["true"].sum, 9) == 0.0007
    (audited,) = receiver.histograms("tsa.audit.duration")
    assert audited.count == 2


def test_metrics_come_by_themselves(receiver: OtlpReceiver) -> None:
    observer = open_observer(receiver, traces=False, metrics_interval="100ms")
    observer.observe(GRANTED)
    wait_until(lambda: bool(receiver.histograms("tsa.request.duration")), seconds=30, what="metrics arrive")
    observer.close()


def test_a_share_of_requests_is_traced(receiver: OtlpReceiver) -> None:
    observer = open_observer(receiver, sample_ratio=0.25, metrics=False)
    for _ in range(800):
        observer.observe(WEAK)
    observer.close()
    requests = receiver.requests()
    # 800 throws at 1 in 4: outside of this once in a million million times.
    assert 110 < len(requests) < 290
    assert all(list(children) == ["parse"] for _, children in requests)
    assert not receiver.metrics


def test_headers_reach_the_collector_and_stay_secret(
    receiver: OtlpReceiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OTLP_TOKEN", "Bearer s3cret")
    options = OtelOptions.model_validate(
        {"endpoint": receiver.url, "headers": {"Authorization": {"env": "OTLP_TOKEN"}}}
    )
    assert "s3cret" not in repr(options)
    [provider] = otel_plugin.tsa_observers()
    observer = provider.open(options)
    observer.observe(GRANTED)
    observer.close()
    assert receiver.headers
    assert all(headers["authorization"] == "Bearer s3cret" for headers in receiver.headers)
    assert "s3cret" not in caplog.text


def test_a_collector_that_is_away_stops_nothing_and_delays_the_end_by_the_timeout(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        observer = open_observer(endpoint=url, timeout="1s", queue_size=64)
        with ends_within(5):  # a second each, if requests waited for the collector
            for _ in range(5000):
                observer.observe(GRANTED)
        with ends_within(15):
            observer.close()
    assert "127.0.0.1" in caplog.text or "xport" in caplog.text, "nobody would know"


def test_what_the_collector_refuses_for_a_moment_is_sent_again(receiver: OtlpReceiver) -> None:
    receiver.fail_with = 503
    observer = open_observer(receiver, metrics=False, timeout="20s")
    observer.observe(GRANTED)
    wait_until(lambda: receiver.refused > 0, seconds=30, what="the collector refuses")
    receiver.fail_with = 0
    wait_until(lambda: len(receiver.requests()) == 1, seconds=30, what="the span arrives")
    observer.close()


def test_after_close_it_neither_sends_nor_leaves_threads(receiver: OtlpReceiver) -> None:
    before = set(threading.enumerate())
    observer = open_observer(receiver)
    assert set(threading.enumerate()) - before, "the SDK sends from threads of its own"
    observer.close()
    observer.observe(GRANTED)
    wait_until(
        lambda: not {thread for thread in set(threading.enumerate()) - before if "Otel" in thread.name},
        seconds=10,
        what="the SDK's threads end",
    )
    assert not receiver.spans


@pytest.mark.parametrize("endpoint", ["collector:4317", "grpc://collector", ""])
def test_an_endpoint_that_is_no_http_address_is_refused(endpoint: str) -> None:
    with pytest.raises(ValidationError, match="http or https"):
        OtelOptions(endpoint=endpoint)


@pytest.mark.plugin("memory")
@pytest.mark.parametrize(
    "flags",
    [
        pytest.param((), id="waitress"),
        pytest.param(("--workers", "2"), id="waitress-2"),
        pytest.param(
            ("--server", "granian", "--workers", "2"),
            id="granian-2",
        ),
    ],
)
def test_every_request_of_a_server_arrives_whichever_worker_answered(
    flags: tuple[str, ...], receiver: OtlpReceiver, tmp_path: Path
) -> None:
    config = tmp_path / "tsa.toml"
    config.write_text(
        '[profiles.default]\nsigner = "memory:"\n[metrics]\nenabled = false\n[observe]\nobservers = ["otel"]\n'
        f'[observe.otel]\nendpoint = "{receiver.url}"\n'
    )
    if "granian" in flags:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            flags = (*flags, "--port", str(probe.getsockname()[1]))
    with ServerProcess(config, *flags) as server:
        for number in range(40):
            assert server.stamp(encode_request(), headers={"X-Request-Id": f"r{number}"}).status == 200
        assert server.stamp(b"nonsense", headers={"X-Request-Id": "bad"}).status == 200
    # The server has ended: what it had not sent before was sent then.
    requests = receiver.requests()
    facts = [attributes(span.attributes) for span, _ in requests]
    assert sorted(one["tsa.request.id"] for one in facts) == sorted([*(f"r{number}" for number in range(40)), "bad"])
    good = [(span, children) for span, children in requests if attributes(span.attributes)["tsa.outcome"] == "granted"]
    assert all(list(children) == ["parse", "clock", "sign"] for _, children in good)
    for span, children in good:
        for child in children.values():
            assert span.start_time_unix_nano <= child.start_time_unix_nano
            assert child.end_time_unix_nano <= span.end_time_unix_nano
    counts = [point.count for point in receiver.histograms("tsa.request.duration")]
    assert sum(counts) > 0


def test_more_requests_than_can_be_traced_are_dropped_with_a_word(
    receiver: OtlpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    observer = open_observer(receiver, metrics=False, queue_size=64)
    for _ in range(10_000):
        observer.observe(WEAK)
    observer.close()
    assert 64 <= len(receiver.requests()) < 10_000
    assert "sample_ratio" in caplog.text
