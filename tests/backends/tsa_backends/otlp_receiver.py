"""A collector of the OTLP/HTTP protocol on 127.0.0.1, made of opentelemetry-proto's own message types."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import HistogramDataPoint
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class OtlpReceiver:
    """Keeps everything that it is sent; `fail_with` is the status of the next answers while it is set."""

    def __init__(self) -> None:
        self.traces: list[ExportTraceServiceRequest] = []
        self.metrics: list[ExportMetricsServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.fail_with = 0
        self.refused = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if receiver.fail_with:
                    receiver.refused += 1
                    self._answer(receiver.fail_with, b"")
                    return
                assert self.headers["Content-Type"] == "application/x-protobuf"
                receiver.headers.append({name.lower(): value for name, value in self.headers.items()})
                if self.path == "/v1/traces":
                    receiver.traces.append(ExportTraceServiceRequest.FromString(body))
                    self._answer(200, ExportTraceServiceResponse().SerializeToString())
                elif self.path == "/v1/metrics":
                    receiver.metrics.append(ExportMetricsServiceRequest.FromString(body))
                    self._answer(200, ExportMetricsServiceResponse().SerializeToString())
                else:
                    self._answer(404, b"")

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for message in self.traces
            for resource in message.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def requests(self) -> list[tuple[Span, dict[str, Span]]]:
        """Return each request's span with its children by name."""
        spans = self.spans
        children: dict[bytes, dict[str, Span]] = {}
        for span in spans:
            if span.parent_span_id:
                children.setdefault(span.parent_span_id, {})[span.name] = span
        return [(span, children.get(span.span_id, {})) for span in spans if not span.parent_span_id]

    def resources(self) -> list[dict[str, str]]:
        return [attributes(each.resource.attributes) for message in self.traces for each in message.resource_spans]

    def histograms(self, name: str) -> list[HistogramDataPoint]:
        """Return the points of a histogram in the last message that has it."""
        found: list[HistogramDataPoint] = []
        for message in self.metrics:
            points = [
                point
                for resource in message.resource_metrics
                for scope in resource.scope_metrics
                for metric in scope.metrics
                if metric.name == name and metric.unit == "s"
                for point in metric.histogram.data_points
            ]
            found = points or found
        return found


def attributes(pairs: Any) -> dict[str, str]:
    return {pair.key: pair.value.string_value or str(pair.value.bool_value).lower() for pair in pairs}
