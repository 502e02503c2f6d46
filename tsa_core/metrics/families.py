"""The metrics by name. Those of the Sigstore Timestamp Authority keep its names, but are in seconds, as the names say.

Every label has a bounded set of values: routes, methods, status codes, profiles, algorithms, words of RFC 3161, and
tenants, of which the settings allow a number.
"""

from __future__ import annotations

import platform
from functools import cache
from typing import Literal

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, Summary, disable_created_metrics

from tsa_core import __version__
from tsa_core.api import PKIFailureInfo
from tsa_core.authority import ClockState
from tsa_core.host.revision import UNKNOWN, installed_revision

PREFIX = "timestamp_authority_"
UNRECOGNIZED = "unrecognized"
"""The path of a request that no route answers."""
SECONDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
"""Upper bounds of the histograms' buckets: from a key in memory to a backend that times out."""


class Families:
    """All metrics of the core, registered in `registry`; made once in a process for each registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # Else each counter has a second series, with the time of its creation, which is not needed.
        disable_created_metrics()  # type: ignore[no-untyped-call] # the library has types, but not for this

        def histogram(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(PREFIX + name, text, labels, registry=registry, buckets=SECONDS)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(PREFIX + name, text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            # All processes know the same value; the latest one is shown.
            return Gauge(PREFIX + name, text, labels, registry=registry, multiprocess_mode="mostrecent")

        def worst_gauge(name: str, text: str, *labels: str, mode: Literal["livemin", "livemax"] = "livemin") -> Gauge:
            # Each process has a state of its own; the worst one is shown, of those that live.
            return Gauge(PREFIX + name, text, labels, registry=registry, multiprocess_mode=mode)

        self.api_latency = histogram("api_latency", "Seconds to answer a request", "path", "code")
        self.api_latency_summary = Summary(
            PREFIX + "api_latency_summary", "Seconds to answer a request", ("path", "code"), registry=registry
        )
        self.latency_by_api = histogram("latency_by_api", "Seconds to answer a request", "path", "method")
        self.http_requests = counter("http_requests_total", "Requests answered", "code", "path", "method")

        self.tokens = counter("tokens_total", "Timestamp tokens issued", "profile")
        self.countersignatures = counter(
            "countersignatures_total", "Countersignatures of other signatures, which are no tokens", "profile"
        )
        self.rejections = counter("rejections_total", "Timestamp requests refused, by PKIFailureInfo", "failure")
        self.queue_refusals = counter(
            "queue_refusals_total", "Timestamp requests refused because they had waited too long for a thread"
        )
        self.tenant_requests = counter(
            "tenant_requests_total", "Requests by the tenant that a guard has found out", "tenant", "outcome"
        )
        self.signatures = counter("signatures_total", "Signatures asked of signers", "algorithm", "outcome")
        self.signer_latency = histogram(
            "signer_latency_seconds", "Seconds that a signer took, also when it failed", "profile"
        )
        self.audit_latency = histogram(
            "audit_latency_seconds", "Seconds that response processors and audit sinks took for a token", "profile"
        )
        self.in_flight = Gauge(
            PREFIX + "requests_in_flight",
            "Requests that are being answered now",
            registry=registry,
            multiprocess_mode="livesum",
        )

        self.clock_state = gauge("clock_state", "1 for the state that the clock is in", "state")
        self.clock_issuing = gauge("clock_issuing", "1 while the clock allows tokens to be issued")
        self.clock_offset = gauge("clock_offset_seconds", "Clock minus true time; NaN while unknown")
        self.clock_error_bound = gauge(
            "clock_error_bound_seconds", "How far the clock may be off at most; NaN while unknown"
        )
        self.ready = worst_gauge("ready", "1 while nothing stops tokens and every check is good: /readyz is 200")
        self.not_ready = worst_gauge("not_ready", "1 while this check is bad at /readyz", "check", mode="livemax")
        self.signer_available = worst_gauge("signer_available", "1 when the signer's last signature worked", "profile")
        self.audit_healthy = worst_gauge(
            "audit_healthy", "1 when the audit sink can store and its trail is intact", "sink"
        )
        self.audit_head = gauge("audit_head_number", "The number of the last record in the audit trail", "sink")
        self.last_anchor = worst_gauge(
            "audit_last_anchor_seconds",
            "When the last anchor of the audit trail was stamped, in seconds since 1970; 0: none is known",
            "sink",
            mode="livemax",
        )
        self.anchor_failures = counter(
            "audit_anchor_failures_total", "How often the audit trail could not be anchored", "sink"
        )
        self.refusals_lost = counter(
            "audit_refusals_lost_total", "Refused requests that an audit sink wanted and could not record", "sink"
        )
        self.log_lines_dropped = counter(
            "log_lines_dropped_total", "Lines of the log that were dropped, because nobody read them in time"
        )
        self.outcomes_dropped = counter(
            "observer_outcomes_dropped_total",
            "Requests that an observer was not told of, because it did not keep up",
            "observer",
        )
        self.valid_days = gauge(
            "certificate_valid_days_remaining", "Days until the first certificate of any profile's chain ends"
        )
        self.not_after = gauge(
            "certificate_not_after_seconds",
            "When the first certificate of the profile's chain ends, in seconds since 1970",
            "profile",
        )
        labels = ("version", "revision", "build_date", "goversion", "python_version")
        build = gauge("build_info", "1; the labels tell what was built, and with what", *labels)
        # The first four are the reference system's; where it has Go's version, that of Python stands.
        python = platform.python_version()
        build.labels(__version__, installed_revision(), UNKNOWN, f"python{python}", python).set(1)

        # Shown from the start, so that a rate includes the first event, and so that every file of a process that shares
        # its metrics is there before the disk is full: a file that is cut short makes each later scrape fail.
        self.not_ready.labels("clock").set(0)
        self.latency_by_api.labels("/api/v1/timestamp", "POST")
        self.api_latency_summary.labels("/api/v1/timestamp", "200")
        for failure in PKIFailureInfo:
            self.rejections.labels(failure.text)
        self.show_clock_state("")

    def show_clock_state(self, state: str) -> None:
        """Set the gauge of this state to 1 and the others to 0."""
        for each in ClockState:
            self.clock_state.labels(each.value).set(each.value == state)


@cache
def default_families() -> Families:
    """Return this process's metrics in prometheus_client's default registry, where plugins register theirs."""
    return Families(REGISTRY)
