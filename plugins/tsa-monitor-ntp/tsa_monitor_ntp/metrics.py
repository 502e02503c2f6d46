"""The NTP metrics of the reference system, in seconds, and the clock's own; in prometheus_client's default registry."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

LATENCY = Histogram(
    "timestamp_authority_ntp_latency", "Seconds until a time server answered, or did not", ["host"], buckets=_BUCKETS
)
SYNC = Counter("timestamp_authority_ntp_sync_total", "Questions to time servers", ["host", "failed"])
ERRORS = Counter(
    "timestamp_authority_ntp_errors_total",
    "Rounds that ended badly: err_too_few, err_inv_time, err_disagree",
    ["reason"],
)
OFFSET = Gauge(
    "timestamp_authority_ntp_offset_seconds",
    "Clock minus true time, by the last round that found a majority",
    multiprocess_mode="mostrecent",
)
UNCERTAINTY = Gauge(
    "timestamp_authority_ntp_uncertainty_seconds",
    "How far that offset may be wrong",
    multiprocess_mode="mostrecent",
)
STATE = Gauge(
    "timestamp_authority_ntp_state",
    "1 for the state that the last round found: trusted, wrong or unknown",
    ["state"],
    multiprocess_mode="mostrecent",
)
_STATES = ("trusted", "wrong", "unknown")
_REASONS = ("err_too_few", "err_inv_time", "err_disagree")


def prepare(hosts: list[str]) -> None:
    """Show every series from the start, so that a rate can be taken of its first event."""
    for reason in _REASONS:
        ERRORS.labels(reason=reason)
    for host in hosts:
        for failed in ("false", "true"):
            SYNC.labels(host=host, failed=failed)
    set_state("unknown")


def set_state(state: str) -> None:
    """Show one of the states."""
    for name in _STATES:
        STATE.labels(state=name).set(1.0 if name == state else 0.0)
