"""The NTP metrics of the reference system, in seconds, and the clock's own; in prometheus_client's default registry."""

from __future__ import annotations

from functools import cache
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_STATES: Final = ("trusted", "wrong", "unknown")
_REASONS: Final = ("err_too_few", "err_inv_time", "err_disagree")


class RoundMetrics:
    """The metrics of one kind of monitor: `timestamp_authority_ntp_sync_total` for the kind ntp, for example."""

    def __init__(self, kind: str) -> None:
        prefix = f"timestamp_authority_{kind}"
        self.latency = Histogram(
            f"{prefix}_latency", "Seconds until a time server answered, or did not", ["host"], buckets=_BUCKETS
        )
        self.sync = Counter(f"{prefix}_sync_total", "Questions to time servers", ["host", "failed"])
        self.errors = Counter(f"{prefix}_errors_total", f"Rounds that ended badly: {', '.join(_REASONS)}", ["reason"])
        self.offset = Gauge(
            f"{prefix}_offset_seconds",
            "Clock minus true time, by the last round that found a majority",
            multiprocess_mode="mostrecent",
        )
        self.uncertainty = Gauge(
            f"{prefix}_uncertainty_seconds", "How far that offset may be wrong", multiprocess_mode="mostrecent"
        )
        self.state = Gauge(
            f"{prefix}_state",
            "1 for the state that the last round found: trusted, wrong or unknown",
            ["state"],
            multiprocess_mode="mostrecent",
        )

    def prepare(self, hosts: list[str]) -> None:
        """Show every series from the start, so that a rate can be taken of its first event."""
        for reason in _REASONS:
            self.errors.labels(reason=reason)
        for host in hosts:
            for failed in ("false", "true"):
                self.sync.labels(host=host, failed=failed)
        self.set_state("unknown")

    def set_state(self, state: str) -> None:
        """Show one of the states."""
        for name in _STATES:
            self.state.labels(state=name).set(1.0 if name == state else 0.0)


@cache
def metrics_of(kind: str) -> RoundMetrics:
    """Return the metrics of a kind of monitor; the same object each time, because a registry takes a name once."""
    return RoundMetrics(kind)
