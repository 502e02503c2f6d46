"""The partitions of `audit_record` in PostgreSQL, one for each month in UTC."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, text

_NAME: Final = re.compile(r"audit_record_([0-9]{4})_([0-9]{2})")
_LIST: Final = text(
    "SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid "
    "WHERE inhparent = 'audit_record'::regclass ORDER BY 1"
)
_KEEP: Final = text(
    "INSERT INTO audit_kept SELECT * FROM audit_record WHERE writer = :writer AND seq > :cut AND at < :before"
)


def month_of(moment: datetime) -> datetime:
    """Return the beginning of the month in UTC."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(month: datetime) -> datetime:
    """Return the beginning of the month behind."""
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


class Partitions:
    """Makes and removes partitions. Names and bounds are made of numbers alone. Thread-safe.

    `begin` connects and begins a transaction, and `lock` lets no other process change tables until its end.
    """

    def __init__(
        self, begin: Callable[[], AbstractContextManager[Connection]], lock: Callable[[Connection], None]
    ) -> None:
        self._begin = begin
        self._lock_schema = lock
        self._known: set[datetime] = set()
        self._lock = threading.Lock()

    def make(self, months: Collection[datetime]) -> None:
        """Make those that are not there."""
        missing = [month for month in months if month not in self._known]
        if not missing:
            return
        with self._lock, self._begin() as connection:
            self._lock_schema(connection)
            there = set(connection.execute(_LIST).scalars())
            for month in missing:
                if _name(month) not in there:
                    _make(connection, month)
        self._known.update(missing)

    def forget(self) -> None:
        """Look again which are there."""
        self._known.clear()

    def remove(self, connection: Connection, before: datetime, cuts: Mapping[int, int]) -> None:
        """Drop the months before the beginning of one.

        Rows behind those that `cuts` names stay: the few that stand in their chain behind one of a later month. They
        move into a new table for their month. Nobody writes meanwhile; that takes as long as dropping files does.
        """
        self._lock_schema(connection)
        months = {
            name: datetime(int(found[1]), int(found[2]), 1, tzinfo=UTC)
            for name in connection.execute(_LIST).scalars().all()
            if (found := _NAME.fullmatch(name))
        }
        old = {name: month for name, month in months.items() if month < before}
        if not old:
            return
        connection.execute(text("LOCK TABLE audit_record IN SHARE ROW EXCLUSIVE MODE"))
        connection.execute(text("CREATE TEMPORARY TABLE audit_kept (LIKE audit_record) ON COMMIT DROP"))
        for writer in connection.execute(text("SELECT id FROM audit_writer")).scalars().all():
            connection.execute(_KEEP, {"writer": writer, "cut": cuts.get(writer, 0), "before": before})
        kept = {month_of(at) for at in connection.execute(text("SELECT at FROM audit_kept")).scalars()}
        for name, month in old.items():
            connection.execute(text(f"ALTER TABLE audit_record DETACH PARTITION {name}"))
            connection.execute(text(f"DROP TABLE {name}"))
            if month in kept:
                _make(connection, month)
        connection.execute(text("INSERT INTO audit_record SELECT * FROM audit_kept"))
        self.forget()


def _name(month: datetime) -> str:
    return f"audit_record_{month.year:04d}_{month.month:02d}"


def _bounds(month: datetime) -> str:
    return f"FOR VALUES FROM ('{month:%Y-%m-%d} 00:00:00+00') TO ('{next_month(month):%Y-%m-%d} 00:00:00+00')"


def _make(connection: Connection, month: datetime) -> None:
    name = _name(month)
    # Attached, and not made as a partition: that would lock out all writers.
    connection.execute(text(f"CREATE TABLE {name} (LIKE audit_record INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"))
    connection.execute(text(f"CREATE UNIQUE INDEX ON {name} (serial) WHERE serial IS NOT NULL"))
    connection.execute(text(f"ALTER TABLE audit_record ATTACH PARTITION {name} {_bounds(month)}"))
