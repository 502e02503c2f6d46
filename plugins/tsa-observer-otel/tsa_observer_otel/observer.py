"""Spans and histograms of what the core tells of each request, sent by OTLP over HTTP from threads of the SDK.

No span is made and nothing is sent while a request waits: threads do that, and they start with the observer, which
each worker process opens for itself. What it costs stands in README.md.
"""

from __future__ import annotations

import logging
import os
import socket
from importlib.metadata import version

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from tsa_core.api import Observer, RequestOutcome
from tsa_observer_otel.options import OtelOptions
from tsa_observer_otel.spans import SpanMaker

log = logging.getLogger(__name__)

_SCOPE = "tsa_observer_otel"
_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SPANS_OF_A_REQUEST = 6


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
        self._spans = None
        if self._tracers:
            self._spans = SpanMaker(
                self._tracers.get_tracer(_SCOPE),
                share=options.sample_ratio,
                limit=options.queue_size,
                longest_seconds=options.timeout.total_seconds(),
            )
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
        # Which requests are traced is decided before anything is made.
        provider = TracerProvider(sampler=ALWAYS_ON, resource=self._resource, shutdown_on_exit=False)
        provider.add_span_processor(
            BatchSpanProcessor(
                exporter,
                max_queue_size=options.queue_size * _SPANS_OF_A_REQUEST,
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
        if self._spans is not None:
            self._spans.add(outcome)
        if self._meters is not None:
            self._measure(outcome)

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
        if self._spans is not None:
            self._spans.close()
        for provider in (self._tracers, self._meters):
            if provider is not None:
                try:
                    provider.shutdown()
                except Exception as error:  # noqa: BLE001 - what the SDK raises depends on what it was doing
                    log.warning("the last traces or metrics may not have been sent: %s", error)


def _headers(options: OtelOptions) -> dict[str, str]:
    return {name: value.get_secret_value() for name, value in options.headers.items()}


def _ca_file(options: OtelOptions) -> str | None:
    return str(options.ca_file) if options.ca_file else None
