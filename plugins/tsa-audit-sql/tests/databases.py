"""Databases of tests: how sinks and trails are opened there, and how somebody else would change them."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from tsa_audit_sql import plugin
from tsa_audit_sql.options import AuditSqlOptions
from tsa_audit_sql.sink import SqlAuditSink
from tsa_audit_sql.trail import SqlTrail, open_trail
from tsa_backends.postgresql_server import PostgresqlServer
from tsa_core.api import AuditRecord
from tsa_core.api.trail import TrailReport, check_trail
from tsa_core.testing.samples import sample_record


class TrailDatabase(ABC):
    """A database that nobody has written to."""

    @property
    @abstractmethod
    def options(self) -> Mapping[str, Any]:
        """The settings that lead to it."""

    @abstractmethod
    def sql(self, statement: str) -> list[str]:
        """Run a statement as somebody with access to the database would; return rows, columns divided by |."""

    def open(self, **options: Any) -> SqlAuditSink:
        """Open a sink, as another process would."""
        [provider] = plugin.tsa_audit_sinks()
        sink = provider.open(AuditSqlOptions(**{**self.options, **options}))
        assert isinstance(sink, SqlAuditSink)
        return sink

    @contextmanager
    def opened(self, **options: Any) -> Iterator[SqlAuditSink]:
        """Open a sink for a while."""
        with closing(self.open(**options)) as sink:
            yield sink

    @contextmanager
    def trail(self, **options: Any) -> Iterator[SqlTrail]:
        """Open the trail, as `timestamp-server audit` does."""
        with closing(open_trail(AuditSqlOptions(**{**self.options, **options}))) as trail:
            yield trail

    def check(self, **options: Any) -> TrailReport:
        """Verify the trail."""
        with self.trail(**options) as trail:
            return check_trail(trail)

    def damage(self, **options: Any) -> list[str]:
        """Return all that a verification finds wrong, with the chain's name before it."""
        report = self.check(**options)
        return [f"{each.chain}: {each.damage}" for each in report.segments if each.damage] + report.faults

    def serials(self) -> list[int]:
        """Return the serial numbers of the tokens."""
        encode = "hex(serial)" if isinstance(self, SqliteTrail) else "encode(serial, 'hex')"
        return [int(text, 16) for text in self.sql(f"SELECT {encode} FROM audit_record WHERE type = 'token'")]


class SqliteTrail(TrailDatabase):
    """A file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def options(self) -> Mapping[str, Any]:
        return {"path": str(self.path)}

    def sql(self, statement: str) -> list[str]:
        with closing(sqlite3.connect(self.path, timeout=60)) as connection, connection:
            return ["|".join(map(str, row)) for row in connection.execute(statement)]


class PostgresqlTrail(TrailDatabase):
    """A schema of a server's database, or a database."""

    def __init__(self, server: PostgresqlServer, name: str = "") -> None:
        self.server = server
        self.name = name
        self.url = server.url(name) if name else server.new_schema()

    @property
    def options(self) -> Mapping[str, Any]:
        return {"url": self.url}

    def sql(self, statement: str) -> list[str]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            rows = cursor.fetchall() if cursor.description else []
        return ["|".join(map(str, row)) for row in rows]


def record(number: int, at: datetime | None = None, **changes: Any) -> AuditRecord:
    """Return a record, of now unless it says otherwise."""
    made = sample_record(number)
    made.gen_time = at or datetime.now(made.gen_time.tzinfo)
    for name, value in changes.items():
        setattr(made, name, value)
    return made
