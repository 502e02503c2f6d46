"""The settings of `[observe.otel]`."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, field_validator

from tsa_core.api import ConfigPath, Duration, PluginOptions, Secret


class OtelOptions(PluginOptions):
    """`[observe.otel]`."""

    endpoint: str = Field(
        "http://127.0.0.1:4318",
        description="the collector's OTLP/HTTP address; /v1/traces and /v1/metrics are added to it",
    )
    headers: dict[str, Secret] = Field(
        default_factory=dict, description="HTTP headers for the collector, such as Authorization"
    )
    ca_file: ConfigPath | None = Field(None, description="PEM file of the CA that an https endpoint is checked with")
    service_name: str = Field("tsa-core", min_length=1, description="service.name of everything that is sent")
    traces: bool = Field(True, description="send a span for each request, with children for its phases")
    sample_ratio: float = Field(
        1.0,
        ge=0,
        le=1,
        description="the share of requests that get spans; these cost 100 us of CPU",
    )
    metrics: bool = Field(True, description="send histograms of requests, signatures and audits")
    metrics_interval: Duration = Field(timedelta(seconds=60), description="time between two sendings of metrics")
    timeout: Duration = Field(
        timedelta(seconds=5), description="for one sending, its repetitions included, and for the last one at the end"
    )
    queue_size: int = Field(
        2048,
        ge=64,
        le=1_000_000,
        description="requests whose spans wait; more are dropped, and requests go on",
    )

    @field_validator("endpoint")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError('must be an http or https address such as "https://collector.example.org:4318"')
        return value.rstrip("/")
