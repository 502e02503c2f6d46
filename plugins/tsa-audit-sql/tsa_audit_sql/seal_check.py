"""Checks the seals against the rows: roots, heads, gaps between seals, and rows that came after their time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, select

from tsa_audit_sql.pruning import pruned_links
from tsa_audit_sql.schema import seals, writers
from tsa_audit_sql.sealing import leaves
from tsa_core.api.transparency import Frontier, leaf_hash

_LATE: Final = timedelta(minutes=10)
"""How much older than the seal before theirs rows may be: clocks of machines differ."""


class _Head(NamedTuple):
    """What a seal says of a writer."""

    name: str
    first: int
    last: int
    digest: str


def check_seals(connection: Connection) -> Iterator[str]:
    """Yield what is wrong, in words. The chain of the seals themselves, and the rows' own, are checked elsewhere.

    A seal over rows some of which were pruned is held against the rows that are there by its heads alone.
    """
    check = _SealCheck(connection)
    statement = select(seals.c.seq, seals.c.at, seals.c.line).order_by(seals.c.seq)
    with connection.execute(statement.execution_options(yield_per=100)) as rows:
        for seal in rows:
            try:
                fields = json.loads(seal.line)
                heads = [_Head(str(name), int(one), int(last), str(end)) for name, one, last, end in fields["heads"]]
                root = str(fields["root"])
            except (ValueError, TypeError, KeyError):
                yield f"seal {seal.seq} is none"
                continue
            yield from check.seal(f"seal {seal.seq}", heads, root)
            check.before = seal.at
    yield from check.rest()


class _SealCheck:
    """Walks the seals in their order."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._writers = {row.name: row for row in connection.execute(select(writers)).all()}
        self._pruned = {name: link.seq for name, link in pruned_links(connection).items()}
        self._sealed: dict[str, int] = {}
        self.before: datetime | None = None
        """The time of the seal before."""

    def seal(self, what: str, heads: Sequence[_Head], root: str) -> Iterator[str]:
        """Check one seal."""
        tree = Frontier()
        whole = True
        for head in heads:
            sealed = self._sealed.get(head.name, head.first - 1)
            if head.first != sealed + 1:
                yield f"{what} begins with the row {head.first} of {head.name}, and the seal before ended with {sealed}"
            self._sealed[head.name] = head.last
            pruned = self._pruned.get(head.name, 0)
            whole = whole and head.first > pruned
            if head.last <= pruned:
                continue
            for fault in self._rows(what, head, max(head.first, pruned + 1), tree):
                whole = False
                yield fault
        if whole and tree.root().hex() != root:
            yield f"{what} has another root than the rows that it covers: some were changed, removed or put in"

    def _rows(self, what: str, head: _Head, first: int, tree: Frontier) -> Iterator[str]:
        if head.name not in self._writers:
            yield f"{what} covers rows of {head.name}, which are not there"
            return
        last: Any = None
        late = False
        for last in leaves(self._connection, self._writers[head.name].id, first, head.last):
            tree.append(leaf_hash(last.hash))
            if self._is_late(last) and not late:
                late = True
                yield f"the row {last.seq} of {head.name} says {last.at.isoformat()}, and {what} is the first over it"
        if last is None or (last.seq, last.hash.hex()) != (head.last, head.digest):
            yield f"{what} has {head.last}:{head.digest} as the last row of {head.name}, and that is not there"

    def rest(self) -> Iterator[str]:
        """Check the rows behind the last seal."""
        for name, writer in self._writers.items():
            first = max(self._sealed.get(name, 0), writer.start_seq) + 1
            if writer.sealed_seq >= first:
                yield (
                    f"the rows of {name} are said to be sealed up to {writer.sealed_seq}, and no seal covers those "
                    f"from {first} on: nothing would seal them, or anchor them"
                )
            with closing(leaves(self._connection, writer.id, first, writer.head_seq)) as rows:
                late = next((row for row in rows if self._is_late(row)), None)
            if late is not None:
                yield f"the row {late.seq} of {name} says {late.at.isoformat()}, and no seal of that time covers it"

    def _is_late(self, row: Any) -> bool:
        return self.before is not None and row.at < self.before - _LATE
