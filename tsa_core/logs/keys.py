"""What the keys of JSON lines are called: by us, by Google Cloud Logging, by the Elastic Common Schema."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

from tsa_core.values import Value

KeysName = Literal["plain", "gcp", "ecs"]


class Keys(Value):
    """Other names for keys (`names`, by ours), what stands in every line besides, and how times and levels are written.

    `extra` is JSON without its braces. `trace` is a second key for the request's id, by which a service joins lines.
    `duration` is the format of a request's duration and how many nanoseconds its unit has.
    """

    names: Mapping[str, str] = MappingProxyType({})
    extra: str = ""
    trace: str | None = None
    capital_levels: bool = False
    duration: tuple[str, float] = ("%.3f", 1e6)

    def __getitem__(self, ours: str) -> str:
        return self.names.get(ours, ours)

    def level(self, name: str) -> str:
        """Return a level as this schema writes it."""
        return name.upper() if self.capital_levels else name


PLAIN: Final = Keys()
KEYS: Final[Mapping[KeysName, Keys]] = {
    "plain": PLAIN,
    # cloud.google.com/logging/docs/structured-logging: severity in capitals, message, timestamp, trace.
    "gcp": Keys(
        names={"level": "severity", "event": "message", "exception": "stack_trace"},
        trace="logging.googleapis.com/trace",
        capital_levels=True,
    ),
    # The Elastic Common Schema, whose durations are nanoseconds; what it has no name for is in `tsa.`.
    "ecs": Keys(
        names={
            "timestamp": "@timestamp",
            "level": "log.level",
            "logger": "log.logger",
            "event": "message",
            "exception": "error.stack_trace",
            "request_id": "http.request.id",
            "client": "client.address",
            "method": "http.request.method",
            "path": "url.path",
            "status": "http.response.status_code",
            "duration_ms": "event.duration",
            "identity": "user.name",
            "tenant": "organization.name",
            **{
                name: f"tsa.{name}"
                for name in ("profile", "hash", "outcome", "serial", "fail_info", "reason", "digest")
            },
        },
        extra='"ecs.version":"8.11.0",',
        duration=("%.0f", 1.0),
    ),
}
