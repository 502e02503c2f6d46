"""Seals: a Merkle root over all rows since the last seal, whichever process wrote them.

The seals are a chain of lines of their own, called `seals`:

    {"seq":4,"type":"seal","time":"...","rows":120,"root":"77ab...","heads":[["host.71.5d3c...",41,160,"02c1..."]],"hash":"..."}

`heads` has, for each writer that has rows since the last seal, its name, the number of its first row that no seal
covered, of its last one, and that one's hash. The leaves of the tree (RFC 6962 2.1) are the hashes of these rows, 32
octets each, in this order. A row that is put in later, at any place, has no seal of its time.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from tsa_audit_sql.database import Database
from tsa_audit_sql.schema import records, seals, writers
from tsa_core.api.trail import BEGINNING, Link, begin_hash, encode, seal, utc_text
from tsa_core.api.transparency import Frontier, leaf_hash

log = logging.getLogger(__name__)

_FETCHED: Final = 5_000
_MAX_HEADS: Final = 20_000
"""Writers of one seal, so that its line stays below MAX_LINE_OCTETS; the next seal takes the others."""


class SealRefusedError(Exception):
    """Rows that must be there are missing; the text says which."""


def last_seal(connection: Connection) -> tuple[Link, datetime | None]:
    """Return the link and the time of the last seal; BEGINNING and None when there is none."""
    found = connection.execute(select(seals.c.seq, seals.c.hash, seals.c.at).order_by(seals.c.seq.desc()).limit(1))
    if (row := found.one_or_none()) is None:
        return BEGINNING, None
    return Link(row.seq, row.hash.hex()), row.at


def leaves(connection: Connection, writer: int, first: int, last: int) -> Generator[Any, None, None]:
    """Yield `seq`, `hash` and `at` of a writer's rows in order, a few thousand in memory at a time."""
    table = records.c
    statement = (
        select(table.seq, table.hash, table.at)
        .where(table.writer == writer, table.seq >= first, table.seq <= last)
        .order_by(table.seq)
        .execution_options(yield_per=_FETCHED)
    )
    with connection.execute(statement) as rows:
        yield from rows


class Sealer:
    """Seals all rows that no seal covers. For one thread at a time; several processes may do it at once."""

    def __init__(self, database: Database, key: bytes | None) -> None:
        self._database = database
        self._key = key

    def seal(self, *, unless_since: datetime | None = None) -> Link | None:
        """Make a seal; None when no row is without, another process is at it, or has made one since a time.

        Raises SQLAlchemyError, and SealRefusedError when rows are missing that their process has stored.
        """
        with self._database.reading() as connection:
            before, sealed_at = last_seal(connection)
            if unless_since is not None and sealed_at is not None and sealed_at >= unless_since:
                return None
            table = writers.c
            open_ends = connection.execute(
                select(table.id, table.name, table.head_seq, table.sealed_seq)
                .where(table.head_seq != table.sealed_seq)
                .order_by(table.id)
                .limit(_MAX_HEADS)
            ).all()
            if not open_ends:
                return None
            members, sealed = self._members(connection, open_ends)
        return self._store(before, members, sealed)

    def _members(self, connection: Connection, open_ends: Any) -> tuple[dict[str, Any], list[tuple[int, int]]]:
        tree = Frontier()
        heads: list[list[Any]] = []
        for writer in open_ends:
            if writer.sealed_seq > writer.head_seq:
                raise SealRefusedError(
                    f"the rows of {writer.name} end with {writer.head_seq}, and are said to be sealed up to "
                    f"{writer.sealed_seq}: nothing would seal those to come"
                )
            expected, digest = writer.sealed_seq + 1, b""
            for row in leaves(connection, writer.id, expected, writer.head_seq):
                if row.seq == expected:
                    tree.append(leaf_hash(row.hash))
                    expected, digest = row.seq + 1, row.hash
            if expected != writer.head_seq + 1:
                raise SealRefusedError(
                    f"the row {expected} of {writer.name} is not there, and its last one was {writer.head_seq}"
                )
            heads.append([writer.name, writer.sealed_seq + 1, writer.head_seq, digest.hex()])
        sealed = [(writer.id, writer.head_seq) for writer in open_ends]
        return {"rows": tree.size, "root": tree.root().hex(), "heads": heads}, sealed

    def _store(self, before: Link, members: dict[str, Any], sealed: list[tuple[int, int]]) -> Link | None:
        now = datetime.now(UTC)
        line, link = seal(encode({"type": "seal", "time": utc_text(now), **members}), before, begin_hash(self._key))
        try:
            with self._database.engine.begin() as connection:
                if not self._database.try_lock_seals(connection) or last_seal(connection)[0] != before:
                    return None
                connection.execute(
                    insert(seals).values(seq=link.seq, at=now, hash=bytes.fromhex(link.digest), line=line[:-1])
                )
                for writer, seq in sealed:
                    connection.execute(update(writers).where(writers.c.id == writer).values(sealed_seq=seq))
        except IntegrityError:
            return None  # another process was faster
        return link
