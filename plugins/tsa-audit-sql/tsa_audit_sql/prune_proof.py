"""What a prune may say: its events are chained with the key, so that they must not repeat what anybody wrote there.

Whoever writes to the database could remove rows, or say in a column that rows are old; an event about them would make
a trail that lacks them verify. So the last row that goes is checked by its line, and where a chain begins without that
a row goes now, only what an event has told before is told again.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from tsa_audit_sql.schema import SEALS, records, seals, writers
from tsa_core.api import AuditError
from tsa_core.api.trail import (
    BEGINNING,
    PRUNED,
    BrokenChainError,
    Link,
    begin_hash,
    check_line,
    parse_link,
    time_of,
)


class Proof:
    """Checks lines by the hash in the row before them. `told` are the links of the events that hold, by chain."""

    def __init__(self, connection: Connection, key: bytes | None) -> None:
        self._connection = connection
        self._begun = begin_hash(key)
        self._writers = {row.id: row for row in connection.execute(select(writers)).all()}
        self.told: dict[str, set[Link]] = {}
        table = records.c
        for row in connection.execute(select(table.writer, table.seq, table.line).where(table.kind == PRUNED)).all():
            self._take(row)

    def _take(self, row: Any) -> None:
        """Remember what an event tells; nothing of one whose line does not hold."""
        if (writer := self._writers.get(row.writer)) is None or (before := self._before(writer, row.seq)) is None:
            return
        try:
            fields, _ = check_line(_octets(row.line), before, self._begun)
        except BrokenChainError:
            return
        details = fields.get("details")
        if fields.get("kind") != PRUNED or not isinstance(details, dict):
            return
        if (link := parse_link(str(details.get("last", "")))) is not None:
            self.told.setdefault(str(details.get("chain", "")), set()).add(link)

    def last_told(self, chain: str) -> Link | None:
        """Return the last link that an event tells of a chain, None when there is none."""
        return max(self.told.get(chain, ()), default=None)

    def of_row(self, writer: Any, seq: int, before: datetime) -> Link:
        """Return the link of a row; raises AuditError unless its line holds, and is older than `before`."""
        table = records.c
        row = self._connection.execute(
            select(table.line).where(table.writer == writer.id, table.seq == seq)
        ).one_or_none()
        return self._checked(row, self._before(writer, seq), before, f"the row {seq} of {writer.name}")

    def of_seal(self, seq: int, before: datetime) -> Link:
        """Return the link of a seal, checked as `of_row` does."""
        table = seals.c
        row = self._connection.execute(select(table.line).where(table.seq == seq)).one_or_none()
        digest = self._connection.execute(select(table.hash).where(table.seq == seq - 1)).scalar()
        if digest is None:
            former = next((link for link in self.told.get(SEALS, ()) if link.seq == seq - 1), BEGINNING)
        else:
            former = Link(seq - 1, digest.hex())
        return self._checked(row, former, before, f"the seal {seq}")

    def _before(self, writer: Any, seq: int) -> Link | None:
        """Return the link of the row before a row, None when it is not there."""
        if seq - 1 == writer.start_seq:
            return Link(writer.start_seq, writer.start_hash.hex())
        table = records.c
        digest = self._connection.execute(
            select(table.hash).where(table.writer == writer.id, table.seq == seq - 1)
        ).scalar()
        return None if digest is None else Link(seq - 1, digest.hex())

    def _checked(self, row: Any, former: Link | None, before: datetime, what: str) -> Link:
        wrong = "it, or the one before it, is not there"
        if row is not None and former is not None:
            try:
                fields, link = check_line(_octets(row.line), former, self._begun)
            except BrokenChainError as error:
                wrong = str(error)
            else:
                moment = time_of(fields)
                if moment is not None and moment < before:
                    return link
                wrong = f"its line is of {moment}, and its column says an earlier time"
        raise AuditError(f"{what} cannot be the last one that goes: {wrong}. See timestamp-server audit verify first")


def _octets(line: str) -> bytes:
    return line.encode("ascii", "replace") + b"\n"
