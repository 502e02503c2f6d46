"""Spans and histograms of what the core tells of each request, sent by OTLP over HTTP from threads of the SDK.

Measured for each request, in a process whose bare P-256 signature takes 22 us: see README.md. Nothing is sent while a
request waits: the SDK's threads do that, and they start with the observer, which each worker process opens for itself.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from importlib.metadata import version

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.util.types import AttributeValue

from tsa_core.api import Observer, PKIFailureInfo, RequestOutcome
from tsa_observer_otel.plugin import OtelOptions

log = logging.getLogger(__name__)

SPAN = "timestamp"
_SCOPE = "tsa_observer_otel"
_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_OUR_FAULT = frozenset({PKIFailureInfo.SYSTEM_FAILURE, PKIFailureInfo.TIME_NOT_AVAILABLE})
"""What makes a span an error; a refusal of what the client asked for is none."""


class OtelObserver(Observer):
    """Sends what became of each request. A collector that is away costs what was meant for it, and nothing else."""

    def __init__(self, options: OtelOptions) -> None:
        self._resource = Resource.create(
            {
                "service.name": options.service_name,
                "service.version": version("tsa-core"),
                "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
            }
        )
        self._closed = False
        self._tracers = self._open_traces(options) if options.traces else None
        self._meters = self._open_metrics(options) if options.metrics else None
        self._tracer = self._tracers.get_tracer(_SCOPE) if self._tracers else None
        if self._meters:
            meter = self._meters.get_meter(_SCOPE)
            self._durations = meter.create_histogram(
                "tsa.request.duration", unit="s", description="Time from a timestamp request to its reply"
            )
            self._phases = {
                "sign": meter.create_histogram("tsa.sign.duration", unit="s", description="Time of the signer"),
                "audit": meter.create_histogram(
                    "tsa.audit.duration", unit="s", description="Time of response processors and audit sinks"
                ),
            }

    def _open_traces(self, options: OtelOptions) -> TracerProvider:
        timeout = options.timeout.total_seconds()
        exporter = OTLPSpanExporter(
            endpoint=f"{options.endpoint}/v1/traces",
            headers=_headers(options),
            certificate_file=_ca_file(options),
            timeout=timeout,
        )
        sampler = ParentBased(TraceIdRatioBased(options.sample_ratio))
        provider = TracerProvider(sampler=sampler, resource=self._resource, shutdown_on_exit=False)
        provider.add_span_processor(
            BatchSpanProcessor(
                exporter,
                max_queue_size=options.queue_size,
                max_export_batch_size=min(512, options.queue_size),
                schedule_delay_millis=1000,
                export_timeout_millis=timeout * 1000,
            )
        )
        return provider

    def _open_metrics(self, options: OtelOptions) -> MeterProvider:
        timeout = options.timeout.total_seconds()
        exporter = OTLPMetricExporter(
            endpoint=f"{options.endpoint}/v1/metrics",
            headers=_headers(options),
            certificate_file=_ca_file(options),
            timeout=timeout,
        )
        reader = PeriodicExportingMetricReader(
            exporter,
            export_interval_millis=options.metrics_interval.total_seconds() * 1000,
            export_timeout_millis=timeout * 1000,
        )
        buckets = View(instrument_name="tsa.*", aggregation=ExplicitBucketHistogramAggregation(_SECONDS))
        return MeterProvider([reader], resource=self._resource, views=[buckets], shutdown_on_exit=False)

    def observe(self, outcome: RequestOutcome) -> None:
        """Make spans and add to the histograms."""
        if self._closed:
            return
        if self._tracer is not None:
            self._trace(outcome)
        if self._meters is not None:
            self._measure(outcome)

    def _trace(self, outcome: RequestOutcome) -> None:
        assert self._tracer is not None  # noqa: S101 - observe() looked
        ended = time.time_ns()
        started = ended - outcome.duration_ns
        span = self._tracer.start_span(SPAN, kind=SpanKind.SERVER, start_time=started)
        if span.is_recording():
            span.set_attributes(_facts(outcome))
            if outcome.failure in _OUR_FAULT:
                span.set_status(Status(StatusCode.ERROR, outcome.reason))
            inside = set_span_in_context(span)
            for name, duration_ns in outcome.phases_ns.items():
                began = started + outcome.offsets_ns.get(name, 0)
                child = self._tracer.start_span(name, context=inside, start_time=began)
                if name == outcome.failed_phase:
                    child.set_status(Status(StatusCode.ERROR, outcome.reason))
                child.end(began + duration_ns)
        span.end(ended)

    def _measure(self, outcome: RequestOutcome) -> None:
        profile = outcome.profile or "unknown"
        result = outcome.failure.text if outcome.failure is not None else "granted"
        self._durations.record(outcome.duration_ns / 1e9, {"tsa.profile": profile, "tsa.outcome": result})
        for name, histogram in self._phases.items():
            duration_ns = outcome.phases_ns.get(name)
            if duration_ns is not None:
                failed = outcome.failed_phase == name
                histogram.record(duration_ns / 1e9, {"tsa.profile": profile, "tsa.failed": failed})

    def close(self) -> None:
        """Send what is left, for `timeout` at most, and end the SDK's threads."""
        if self._closed:
            return
        self._closed = True
        for provider in (self._tracers, self._meters):
            if provider is not None:
                try:
                    provider.shutdown()
                except Exception as error:  # noqa: BLE001 - what the SDK raises depends on what it was doing
                    log.warning("the last traces or metrics may not have been sent: %s", error)


def _facts(outcome: RequestOutcome) -> dict[str, AttributeValue]:
    """Return the span's attributes; never the message digest, which may tell what was timestamped."""
    facts: dict[str, AttributeValue] = {
        "tsa.outcome": "granted" if outcome.failure is None else "refused",
        "tsa.request.id": outcome.request_id,
    }
    if outcome.client_address:
        facts["client.address"] = outcome.client_address
    if outcome.profile is not None:
        facts["tsa.profile"] = outcome.profile
    if outcome.hash_name is not None:
        facts["tsa.hash"] = outcome.hash_name
    if outcome.serial_number is not None:
        facts["tsa.serial"] = f"{outcome.serial_number:x}"
    if outcome.algorithm is not None:
        facts["tsa.signature.algorithm"] = outcome.algorithm
    if outcome.failure is not None:
        facts["tsa.fail_info"] = outcome.failure.text
    return facts


def _headers(options: OtelOptions) -> dict[str, str]:
    return {name: value.get_secret_value() for name, value in options.headers.items()}


def _ca_file(options: OtelOptions) -> str | None:
    return str(options.ca_file) if options.ca_file else None
