"""What is looked for in a trail, and whether a line is that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

TOKEN: Final = "token"  # noqa: S105 - a kind of line
REFUSAL: Final = "refusal"


@dataclass(frozen=True, kw_only=True)
class Query:
    """What a line must be; everything that is given must hold. Times are aware; `until` is the first time too late."""

    serial_number: int | None = None
    digest: bytes | None = None
    tenant: str | None = None
    identity: str | None = None
    profile: str | None = None
    client: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    types: frozenset[str] | None = None
    """`token`, `refusal`, `event` and others; None for all."""
    events: bool = False
    """Everything that is no token, no refusal and no probe."""

    def matches(self, fields: Mapping[str, Any]) -> bool:
        """Say whether a line's object is what is looked for."""
        kind = fields.get("type")
        if (self.types is not None and kind not in self.types) or (self.events and kind in _NO_EVENTS):
            return False
        texts = {
            "serial": None if self.serial_number is None else f"{self.serial_number:040x}",
            "digest": None if self.digest is None else self.digest.hex(),
            "tenant": self.tenant,
            "identity": self.identity,
            "profile": self.profile,
            "client": self.client,
        }
        if any(text is not None and fields.get(name) != text for name, text in texts.items()):
            return False
        if self.since is None and self.until is None:
            return True
        moment = time_of(fields)
        if moment is None:
            return False
        return (self.since is None or moment >= self.since) and (self.until is None or moment < self.until)


_NO_EVENTS: Final = frozenset({TOKEN, REFUSAL, "probe"})


def time_of(fields: Mapping[str, Any]) -> datetime | None:
    """Return the time of a line: genTime for a token; None for a line without one."""
    try:
        moment = datetime.fromisoformat(str(fields.get("gen_time") or fields.get("time") or ""))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
