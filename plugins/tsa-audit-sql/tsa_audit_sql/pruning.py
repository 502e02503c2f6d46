"""Removes old rows so that what stays can be verified.

Of each chain a beginning goes: rows older than the limit, up to the first one that is not, and only what a seal covers.
First an event `audit.pruned` for each chain says which line is the last one that goes; the events are a chain of their
own, by the process that prunes. Then the rows go, and the seals that cover only such rows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, delete, func, select, update

from tsa_audit_sql.database import Database
from tsa_audit_sql.partitions import month_of
from tsa_audit_sql.prune_proof import Proof
from tsa_audit_sql.rows import event_row, own_row
from tsa_audit_sql.schema import SEALS, records, seals, writers
from tsa_audit_sql.sealing import Sealer
from tsa_audit_sql.writer import Writer
from tsa_core.api import AuditEvent
from tsa_core.api.trail import PRUNED, Link, parse_link

_ALIVE: Final = timedelta(days=2)
"""A process without a row for this long has ended: while it runs it stores a probe every hour at least."""


_CHUNK: Final = 5_000
"""Rows that go in one transaction, while those of requests wait."""


class _Cut(NamedTuple):
    """Where a chain begins after a prune, and how many rows go."""

    writer: int
    name: str
    link: Link
    rows: int


def pruned_details(connection: Connection) -> Iterator[Mapping[str, Any]]:
    """Yield the details of the events that say what was pruned; nothing is verified."""
    for line in connection.execute(select(records.c.line).where(records.c.kind == PRUNED)).scalars().all():
        try:
            details = json.loads(line)["details"]
        except (ValueError, TypeError, KeyError):
            continue
        if isinstance(details, dict):
            yield details


def pruned_links(connection: Connection) -> dict[str, Link]:
    """Return the last line that was removed, by chain."""
    found: dict[str, Link] = {}
    for details in pruned_details(connection):
        link, chain = parse_link(str(details.get("last", ""))), str(details.get("chain", ""))
        if link is not None and link.seq > found.get(chain, Link()).seq:
            found[chain] = link
    return found


def prune(database: Database, key: bytes | None, before: datetime, *, dry_run: bool) -> Sequence[str]:
    """Remove what is older than `before`; return what went, in words. Raises SQLAlchemyError, AuditError.

    Servers go on meanwhile: what goes in an instant goes in one transaction, and the rest in many small ones. When it
    is ended half way, `verify` says so and misses nothing; the same prune removes the rest.
    """
    if not dry_run:
        Sealer(database, key).seal()
    with database.reading() as connection:
        proof = Proof(connection, key)
        cuts = _cuts(connection, before, proof)
        seal_cut = _seal_cut(connection, before, cuts, proof)
        month = month_of(before)
        whole = _cuts(connection, month, proof) if database.partitions is not None else []
    told = [f"{cut.rows} rows of {cut.name}, up to {cut.link}" for cut in cuts if cut.rows]
    if seal_cut is not None:
        told.append(f"the seals up to {seal_cut}")
    if dry_run or not told:
        return told
    _tell(database, key, before, {SEALS: seal_cut or proof.last_told(SEALS), **{cut.name: cut.link for cut in cuts}})
    if database.partitions is not None:
        with database.engine.begin() as connection:
            database.take_your_time(connection)
            database.partitions.remove(connection, month, {cut.writer: cut.link.seq for cut in whole})
            for cut in whole:
                _begin_at(connection, cut.writer, cut.link)
    for cut in cuts:
        _remove_rows(database, cut)
    with database.engine.begin() as connection:
        if seal_cut is not None:
            connection.execute(delete(seals).where(seals.c.seq <= seal_cut.seq))
        _remove_writers(connection, min(before, datetime.now(UTC) - _ALIVE))
    return told


def _remove_rows(database: Database, cut: _Cut) -> None:
    """Remove a chain's beginning up to its cut, some thousand rows at a time."""
    table = records.c
    while True:
        with database.turn(), database.engine.begin() as connection:
            rows = (
                select(table.seq, table.hash)
                .where(table.writer == cut.writer, table.seq <= cut.link.seq)
                .order_by(table.seq)
                .limit(_CHUNK)
            )
            if not (found := connection.execute(rows).all()):
                _begin_at(connection, cut.writer, cut.link)
                return
            last = found[-1]
            connection.execute(delete(records).where(table.writer == cut.writer, table.seq <= last.seq))
            _begin_at(connection, cut.writer, Link(last.seq, last.hash.hex()))


def _begin_at(connection: Connection, writer: int, link: Link) -> None:
    """Note where a chain begins; it never begins earlier than before."""
    connection.execute(
        update(writers)
        .where(writers.c.id == writer, writers.c.start_seq < link.seq)
        .values(start_seq=link.seq, start_hash=bytes.fromhex(link.digest))
    )


def _cuts(connection: Connection, before: datetime, proof: Proof) -> list[_Cut]:
    """Return where each chain will begin, of those that do not begin with their first row then.

    One of which nothing goes is among them if the trail tells already that it begins there.
    """
    table = records.c
    newest = select(table.writer, func.min(table.seq)).where(table.at >= before).group_by(table.writer)
    stay = {int(writer): int(seq) for writer, seq in connection.execute(newest)}
    cuts = []
    for writer in connection.execute(select(writers).order_by(writers.c.id)).all():
        last = min(stay.get(writer.id, writer.head_seq + 1) - 1, writer.sealed_seq)
        link = Link(writer.start_seq, writer.start_hash.hex())
        if last > writer.start_seq:
            link = proof.of_row(writer, last, before)
        elif link not in proof.told.get(writer.name, ()):
            continue
        cuts.append(_Cut(writer.id, writer.name, link, link.seq - writer.start_seq))
    return cuts


def _seal_cut(connection: Connection, before: datetime, cuts: Sequence[_Cut], proof: Proof) -> Link | None:
    """Return the last seal that goes: it, and all before it, cover only rows that go. The last seal of all stays."""
    ends = {cut.name: cut.link.seq for cut in cuts}
    known = set(connection.execute(select(writers.c.name)).scalars())
    last = connection.execute(select(func.max(seals.c.seq))).scalar()
    found: Link | None = None
    statement = select(seals).where(seals.c.at < before, seals.c.seq < last).order_by(seals.c.seq)
    with connection.execute(statement.execution_options(yield_per=500)) as rows:
        for seal in rows:
            heads = json.loads(seal.line)["heads"]
            if any(name in known and last > ends.get(name, 0) for name, _, last, _ in heads):
                break
            found = Link(seal.seq, seal.hash.hex())
    return found and proof.of_seal(found.seq, before)


def _tell(database: Database, key: bytes | None, before: datetime, ends: Mapping[str, Link | None]) -> None:
    """Store an event for each chain that does not begin with line 1: earlier events of this kind may go now."""
    now = datetime.now(UTC)
    limit = before.astimezone(UTC).isoformat()
    rows = [
        event_row(AuditEvent(kind=PRUNED, time=now, details={"chain": name, "last": str(link), "before": limit}))
        for name, link in ends.items()
        if link is not None
    ]
    writer = Writer(database, key)
    try:
        writer.commit([*rows, own_row("close", now, pid=os.getpid())])
    finally:
        writer.close()


def _remove_writers(connection: Connection, before: datetime) -> None:
    """Forget the processes of which no row is left, and that have ended."""
    gone = writers.c.start_seq == writers.c.head_seq
    ended = ~select(records.c.writer).where(records.c.writer == writers.c.id).exists()
    connection.execute(delete(writers).where(gone, ended, writers.c.opened < before))
