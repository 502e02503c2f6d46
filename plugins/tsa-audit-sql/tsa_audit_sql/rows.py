"""Rows: the members of a line, and the columns that repeat what it says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from tsa_core.api import AuditEvent, AuditRecord, Identity, RefusalRecord
from tsa_core.api.trail import TokenMembers, encode, event_members, refusal_members, time_of, utc_text

SERIAL_OCTETS: Final = 20
COMPARED: Final = ("at", "type", "kind", "serial", "digest", "profile", "client", "tenant", "identity", "how")
"""The columns that `columns_of` returns."""


class Row(NamedTuple):
    """What becomes a row: the members of its line, when it was, and its other columns by name."""

    members: str
    at: datetime
    columns: Mapping[str, Any]


_NOTHING: Final[Mapping[str, Any]] = dict.fromkeys(COMPARED[1:])


class Rows:
    """Makes rows of records. Thread-safe."""

    def __init__(self, *, digests: bool, tokens: bool) -> None:
        self._digests = digests
        self._members = TokenMembers(digests=digests, tokens=tokens)

    def token(self, record: AuditRecord) -> Row:
        """Return the row of a token."""
        columns = {
            **_NOTHING,
            "type": "token",
            "serial": record.serial_number.to_bytes(SERIAL_OCTETS, "big"),
            "digest": record.digest if self._digests else None,
            "profile": record.profile,
            "client": record.client_address,
            **_who(record.identity),
        }
        return Row(self._members(record), record.gen_time, columns)

    def refusal(self, record: RefusalRecord) -> Row:
        """Return the row of a request that got no token."""
        columns = {
            **_NOTHING,
            "type": "refusal",
            "digest": record.digest if self._digests else None,
            "profile": record.profile,
            "client": record.client_address,
            **_who(record.identity),
        }
        return Row(refusal_members(record, digests=self._digests), record.time, columns)


def event_row(event: AuditEvent) -> Row:
    """Return the row of an event."""
    return Row(event_members(event), event.time, {**_NOTHING, "type": "event", "kind": event.kind})


def own_row(kind: str, at: datetime, **facts: object) -> Row:
    """Return a row of the sink's own: open, close, probe."""
    return Row(encode({"type": kind, "time": utc_text(at), **facts}), at, {**_NOTHING, "type": kind})


def _who(identity: Identity | None) -> dict[str, str | None]:
    if identity is None:
        return {}
    return {"identity": identity.name, "tenant": identity.tenant or None, "how": identity.how or None}


def columns_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns that a line's object demands; raises ValueError for one that no row was made of."""
    kind = fields["type"]
    found = {name: fields.get(name) for name in COMPARED}
    found["at"] = time_of(fields)
    found["kind"] = fields.get("kind") if kind == "event" else None
    for name in ("serial", "digest"):
        value = fields.get(name)
        found[name] = bytes.fromhex(value) if isinstance(value, str) else None
    return found
