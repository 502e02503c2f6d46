"""Checks the seals against the rows: roots, heads, gaps between seals, and rows that came after their time."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any

from sqlalchemy import Connection, select

from tsa_audit_sql.pruning import pruned_links
from tsa_audit_sql.schema import seals, writers
from tsa_audit_sql.sealing import leaves
from tsa_core.api.trail.seals import SealCheck, SealedLine


class _Rows:
    """The rows of one writer."""

    def __init__(self, connection: Connection, writer: Any, gone: int) -> None:
        self._connection = connection
        self._writer = writer
        self.gone = gone

    def lines(self, first: int, last: int | None) -> Generator[SealedLine, None, None]:
        """Yield the rows from one to another, or to the writer's last one."""
        writer = self._writer
        if last is None:
            first, last = max(first, writer.start_seq + 1), writer.head_seq
        with closing(leaves(self._connection, writer.id, first, last)) as rows:
            for row in rows:
                yield SealedLine(row.seq, row.hash, row.at)


def check_seals(connection: Connection) -> Iterator[str]:
    """Yield what is wrong, in words. The chain of the seals themselves, and the rows' own, are checked elsewhere."""
    known = {row.name: row for row in connection.execute(select(writers)).all()}
    pruned = {name: link.seq for name, link in pruned_links(connection).items()}
    rows = {name: _Rows(connection, writer, pruned.get(name, 0)) for name, writer in known.items()}
    check = SealCheck(rows, pruned, noun="row")
    statement = select(seals.c.seq, seals.c.line).order_by(seals.c.seq)
    with connection.execute(statement.execution_options(yield_per=100)) as found:
        for seal in found:
            try:
                fields = json.loads(seal.line)
            except ValueError:
                fields = None
            yield from check.seal(fields, f"seal {seal.seq}")
    for name, writer in known.items():
        first = max(check.sealed.get(name, 0), writer.start_seq) + 1
        if writer.sealed_seq >= first:
            yield (
                f"the rows of {name} are said to be sealed up to {writer.sealed_seq}, and no seal covers those "
                f"from {first} on: nothing would seal them, or anchor them"
            )
    yield from check.rest()
