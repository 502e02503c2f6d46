"""The partitions of `audit_record` in PostgreSQL, one for each month in UTC."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, text

if TYPE_CHECKING:
    from tsa_audit_sql.database import Database

_NAME: Final = re.compile(r"audit_record_([0-9]{4})_([0-9]{2})")
_LIST: Final = text(
    "SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid "
    "WHERE inhparent = 'audit_record'::regclass ORDER BY 1"
)
_ABOVE: Final = "EXISTS (SELECT 1 FROM audit_writer w WHERE w.id = r.writer AND r.seq > w.start_seq)"
"""Whether a row r was not pruned."""


def month_of(moment: datetime) -> datetime:
    """Return the beginning of the month in UTC."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(month: datetime) -> datetime:
    """Return the beginning of the month behind."""
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


class Partitions:
    """Makes and removes partitions. Names and bounds are made of numbers alone. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: set[datetime] = set()
        self._lock = threading.Lock()

    def make(self, months: Collection[datetime]) -> None:
        """Make those that are not there."""
        missing = [month for month in months if month not in self._known]
        if not missing:
            return
        with self._lock, self._database.engine.begin() as connection:
            self._database.lock_schema(connection)
            there = set(connection.execute(_LIST).scalars())
            for month in missing:
                if _name(month) not in there:
                    _make(connection, month)
        self._known.update(missing)

    def forget(self) -> None:
        """Look again which are there."""
        self._known.clear()

    def remove(self, connection: Connection, before: datetime) -> None:
        """Remove the rows before a time that were pruned; a whole month at once.

        A row that stays in a month that goes, because its line is behind one of the next month, moves into a new table
        for that month.
        """
        self._database.lock_schema(connection)
        for name in connection.execute(_LIST).scalars().all():
            found = _NAME.fullmatch(name)
            if not found:
                continue
            month = datetime(int(found[1]), int(found[2]), 1, tzinfo=UTC)
            if next_month(month) <= before:
                _replace(connection, name, month)
            elif month < before:
                connection.execute(
                    text(f"DELETE FROM {name} r WHERE r.at < :before AND NOT {_ABOVE}"),  # noqa: S608 - a name of ours
                    {"before": before},
                )
        self.forget()


def _name(month: datetime) -> str:
    return f"audit_record_{month.year:04d}_{month.month:02d}"


def _bounds(month: datetime) -> str:
    return f"FOR VALUES FROM ('{month:%Y-%m-%d} 00:00:00+00') TO ('{next_month(month):%Y-%m-%d} 00:00:00+00')"


def _make(connection: Connection, month: datetime, name: str = "") -> None:
    name = name or _name(month)
    # Attached, and not made as a partition: that would lock out all writers.
    connection.execute(text(f"CREATE TABLE {name} (LIKE audit_record INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"))
    connection.execute(text(f"CREATE UNIQUE INDEX ON {name} (serial) WHERE serial IS NOT NULL"))
    connection.execute(text(f"ALTER TABLE audit_record ATTACH PARTITION {name} {_bounds(month)}"))


def _replace(connection: Connection, name: str, month: datetime) -> None:
    kept = f"SELECT * FROM {name} r WHERE {_ABOVE}"  # noqa: S608 - a name of ours
    stays = connection.execute(text(f"SELECT EXISTS ({kept})")).scalar_one()
    connection.execute(text(f"ALTER TABLE audit_record DETACH PARTITION {name}"))
    if not stays:
        connection.execute(text(f"DROP TABLE {name}"))
        return
    connection.execute(text(f"ALTER TABLE {name} RENAME TO {name}_old"))
    _make(connection, month)
    connection.execute(text(f"INSERT INTO audit_record {kept.replace(name, f'{name}_old')}"))
    connection.execute(text(f"DROP TABLE {name}_old"))
