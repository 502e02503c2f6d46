"""The trail as `timestamp-server audit` sees it: a chain for each process that wrote, and the chain of seals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Select, func, insert, select
from sqlalchemy.exc import SQLAlchemyError

from tsa_audit_sql.database import Database
from tsa_audit_sql.migrating import prepare, unreachable
from tsa_audit_sql.opening import open_database
from tsa_audit_sql.options import AuditSqlOptions
from tsa_audit_sql.pruning import prune, pruned_links
from tsa_audit_sql.rows import COMPARED, SERIAL_OCTETS, columns_of
from tsa_audit_sql.schema import SEALS, anchors, records, seals, writers
from tsa_audit_sql.seal_check import check_seals
from tsa_audit_sql.sink import key_of
from tsa_core.api.trail import (
    BEGINNING,
    Anchor,
    BrokenChainError,
    Link,
    Query,
    Segment,
    Trail,
    TrailLine,
    UnreadableLine,
    UnsupportedByTrail,
    begin_hash,
    check_line,
    read_line,
    time_of,
)

_FETCHED: Final = 2_000
_NO_EVENTS: Final = ("token", "refusal", "probe")


class SqlTrail(Trail):
    """Reads the database; what `segments` and `faults` say is of one moment."""

    name = "auditsql"

    def __init__(self, database: Database, key: bytes | None) -> None:
        self.key = key
        self._database = database
        self._snapshot = ExitStack()
        self._connection: Connection | None = None
        self._prepared = False

    def segments(self) -> Sequence[Segment]:
        """Return the chains: one for each process that has rows, by the time when it began, then the seals."""
        with self._explained():
            connection = self._anew()
            found = connection.execute(
                select(writers).where(writers.c.head_seq > writers.c.start_seq).order_by(writers.c.id)
            ).all()
            first = connection.execute(select(seals.c.seq).order_by(seals.c.seq).limit(1)).scalar()
            start = self._start_of_seals(connection, first or 1)
        chains = [
            Segment(
                name=records.name,
                chain=writer.name,
                lines=partial(self._lines, connection, writer),
                start=Link(writer.start_seq, writer.start_hash.hex()),
                keyed=self.key is not None,
            )
            for writer in found
        ]
        if first is not None:
            lines = partial(self._seal_lines, connection)
            chains.append(Segment(name=seals.name, chain=SEALS, lines=lines, start=start, keyed=self.key is not None))
        return chains

    def faults(self) -> Iterator[str]:
        """Yield what is wrong with the seals, and how many rows belong to no chain."""
        with self._explained():
            connection = self._connection or self._anew()
            try:
                yield from check_seals(connection)
            except (TypeError, ValueError, AttributeError) as error:
                yield f"the seals, or the rows that they cover, hold what nobody has written there: {error}"
            # A chain of which nothing was counted is in no segment, so that nobody would look at rows under its name.
            known = select(writers.c.id).where(writers.c.head_seq > writers.c.start_seq)
            orphans = connection.execute(
                select(func.count()).select_from(records).where(records.c.writer.not_in(known))
            ).scalar_one()
            if orphans:
                yield (
                    f"{orphans} rows belong to no chain: they were put in, or a row of audit_writer was removed, or "
                    "changed"
                )

    def heads(self) -> Mapping[str, Link]:
        """Return the last seal, and the last rows of the chains that have rows which no seal covers."""
        with self._explained(), self._reading() as connection:
            table = writers.c
            found = connection.execute(
                select(table.name, table.head_seq, table.head_hash).where(table.head_seq > table.sealed_seq)
            ).all()
            last = connection.execute(select(seals.c.seq, seals.c.hash).order_by(seals.c.seq.desc()).limit(1))
            heads = {row.name: Link(row.head_seq, row.head_hash.hex()) for row in found}
            if seal := last.one_or_none():
                heads[SEALS] = Link(seal.seq, seal.hash.hex())
        return heads

    def find(self, query: Query) -> Iterator[TrailLine | UnreadableLine]:
        """Yield the lines that a query means, the oldest first; nothing is verified."""
        statement = _selected(query).execution_options(yield_per=_FETCHED)
        with self._explained(), self._reading() as connection, connection.execute(statement) as rows:
            for row in rows:
                line = _octets(row.line)
                try:
                    fields, _ = read_line(line)
                except BrokenChainError as error:
                    yield UnreadableLine(row.name or str(row.writer), row.seq, str(error))
                    continue
                if query.matches(fields):
                    yield TrailLine(row.name or str(row.writer), line, fields)

    def prune(self, before: datetime, *, dry_run: bool = False) -> Sequence[str]:
        """Remove rows older than `before` that a seal covers, from the beginning of each chain; return which."""
        self._close_snapshot()
        with self._explained():
            with self._reading():
                pass  # its tables are ours
            return prune(self._database, self.key, before, dry_run=dry_run)

    def accept(self, reason: str, *, begin_anew: bool = False) -> Sequence[str]:  # noqa: ARG002 - nothing is accepted
        """Refuse, and say what to do instead: the process that misses rows knows it, and the database does not."""
        raise UnsupportedByTrail(
            f"the sink {self.name} has nothing that could be accepted: note elsewhere what was found out, and restart "
            "the server whose log names the chain; it begins a new one"
        )

    def records_digests(self) -> bool:
        """Say whether any row has a digest."""
        with self._explained(), self._reading() as connection:
            found = connection.execute(select(records.c.seq).where(records.c.digest.is_not(None)).limit(1))
            return found.one_or_none() is not None

    def migrate(self) -> Sequence[str]:
        """Make the tables, or bring them up to date."""
        done = prepare(self._database, migrate=True)
        return [done] if done else []

    def anchors(self) -> Iterator[Anchor]:
        """Yield the stored anchors by number."""
        statement = select(anchors.c.anchor).order_by(anchors.c.number).execution_options(yield_per=100)
        with self._explained(), self._reading() as connection, connection.execute(statement) as rows:
            for row in rows:
                yield Anchor.from_json(row.anchor)

    def last_anchor(self) -> Anchor | None:
        """Return the stored anchor with the highest number, None when there is none."""
        with self._explained(), self._reading() as connection:
            last = connection.execute(select(anchors.c.anchor).order_by(anchors.c.number.desc()).limit(1)).scalar()
        return None if last is None else Anchor.from_json(last)

    def store_anchor(self, anchor: Anchor) -> None:
        """Store an anchor in a table of its own."""
        with self._explained(), self._database.engine.begin() as connection:
            connection.execute(
                insert(anchors).values(number=anchor.number, stored=datetime.now(UTC), anchor=anchor.to_json())
            )

    @contextmanager
    def anchoring(self) -> Iterator[bool]:
        """Hold a lock that PostgreSQL, or the file system beside SQLite, releases when this process ends."""
        with self._explained(), self._database.try_lock_anchors() as mine:
            yield mine

    def close(self) -> None:
        """Release the connections."""
        self._close_snapshot()
        self._database.close()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        if not self._prepared:
            prepare(self._database, migrate=False)
            self._prepared = True
        with self._database.reading() as connection:
            yield connection

    def _anew(self) -> Connection:
        self._close_snapshot()
        self._connection = self._snapshot.enter_context(self._reading())
        return self._connection

    def _close_snapshot(self) -> None:
        self._connection = None
        with self._explained():
            self._snapshot.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise unreachable(self._database, error) from None

    def _lines(self, connection: Connection, writer: Any) -> Iterator[bytes]:
        """Yield the lines of a chain; raises BrokenChainError for a column that says something else than its line.

        A line that does not fit itself is left to whoever checks the lines.
        """
        before = Link(writer.start_seq, writer.start_hash.hex())
        begun = begin_hash(self.key)
        statement = select(records).where(records.c.writer == writer.id).order_by(records.c.seq)
        statement = statement.execution_options(yield_per=_FETCHED)
        with self._explained(), _odd_values(), connection.execute(statement) as rows:
            for row in rows:
                line = _octets(row.line)
                if wrong := _wrong_columns(row, line):
                    check_line(line, before, begun)
                    raise BrokenChainError(
                        f"the row {row.seq}, column {', '.join(wrong)}: it does not say what its line says"
                    )
                yield line
                before = Link(row.seq, row.hash.hex())
        if before.seq != writer.head_seq:
            raise BrokenChainError(f"the rows behind {before.seq} are missing: {writer.head_seq} was the last one")
        if before.digest != writer.head_hash.hex():
            raise BrokenChainError(
                f"the table of processes has another hash for the last row, {before.seq}: an anchor would be of that"
            )

    def _seal_lines(self, connection: Connection) -> Iterator[bytes]:
        statement = select(seals).order_by(seals.c.seq).execution_options(yield_per=_FETCHED)
        with self._explained(), _odd_values(), connection.execute(statement) as rows:
            for row in rows:
                line = _octets(row.line)
                yield line
                fields, link = read_line(line)
                if (row.seq, row.hash.hex(), row.at) != (*link, time_of(fields)):
                    raise BrokenChainError(f"the columns of the seal {row.seq} do not say what its line says")

    @staticmethod
    def _start_of_seals(connection: Connection, first: int) -> Link:
        """Return the link in front of the first seal that is there, as the event of a prune says it."""
        if first == 1:
            return BEGINNING
        link = pruned_links(connection).get(SEALS)
        return link if link is not None and link.seq == first - 1 else Link(first - 1, BEGINNING.digest)


@contextmanager
def _odd_values() -> Iterator[None]:
    """Turn what a value of a wrong type leads to, which SQLite lets anybody store, into a BrokenChainError."""
    try:
        yield
    except (TypeError, ValueError, AttributeError) as error:
        raise BrokenChainError(f"a column holds what nobody has written there: {error}") from None


def _wrong_columns(row: Any, line: bytes) -> list[str]:
    """Return the columns that do not say what the line says; raises BrokenChainError for a line that is none."""
    fields, link = read_line(line)
    stored = {name: getattr(row, name) for name in COMPARED}
    stored.update(seq=row.seq, hash=row.hash)
    demanded = columns_of(fields)
    demanded.update(seq=link.seq, hash=bytes.fromhex(link.digest))
    return [name for name, value in demanded.items() if stored[name] != value]


def _selected(query: Query) -> Select[Any]:
    """Return the statement for a query; each condition has an index, but for identity, profile and client."""
    table = records.c
    equal = {
        table.digest: query.digest,
        table.tenant: query.tenant,
        table.identity: query.identity,
        table.profile: query.profile,
        table.client: query.client,
        table.serial: None if query.serial_number is None else query.serial_number.to_bytes(SERIAL_OCTETS, "big"),
    }
    conditions = [column == value for column, value in equal.items() if value is not None]
    if query.since is not None:
        conditions.append(table.at >= query.since)
    if query.until is not None:
        conditions.append(table.at < query.until)
    if query.types is not None:
        conditions.append(table.type.in_(sorted(query.types)))
    if query.events:
        conditions.append(table.type.not_in(_NO_EVENTS))
    joined = records.outerjoin(writers, writers.c.id == table.writer)
    return (
        select(table.writer, table.seq, table.line, writers.c.name)
        .select_from(joined)
        .where(*conditions)
        .order_by(table.at, table.writer, table.seq)
    )


def _octets(line: str) -> bytes:
    return line.encode("ascii", "replace") + b"\n"


def open_trail(options: AuditSqlOptions) -> SqlTrail:
    """Return the trail; connects nowhere yet. Raises ConfigError."""
    return SqlTrail(open_database(options, writes=False), key_of(options))
