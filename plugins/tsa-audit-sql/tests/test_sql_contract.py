"""The contracts of every plugin and of every audit sink, in both databases."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from types import ModuleType
from typing import Any

import pytest

from tsa_audit_sql import plugin as sql_plugin
from tsa_core.api import AuditSink
from tsa_core.testing import AuditSinkContract, ProviderContract, TrailContract

from .databases import TrailDatabase


def void(_result: object) -> None:
    """For a lambda."""


class OfThisPlugin:
    """The plugin whose contracts these are."""

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return sql_plugin


class InBothDatabases(OfThisPlugin):
    """Its settings, for a database of each kind; the machine may be slow."""

    @pytest.fixture
    def options(self, database: TrailDatabase) -> Mapping[str, Any]:
        return {**database.options, "timeout": "60s"}


class TestAuditSqlProvider(OfThisPlugin, ProviderContract):
    @pytest.fixture
    def distribution_name(self) -> str:
        return "tsa-audit-sql"

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {"path": "/var/lib/tsa/audit.db", "key": "a key of some length"}


class TestAuditSqlSink(InBothDatabases, AuditSinkContract):
    @pytest.fixture
    def read_serial_numbers(self, database: TrailDatabase) -> Callable[[], Collection[int]]:
        return database.serials

    @pytest.fixture
    def failing_sink(self, database: TrailDatabase) -> Iterator[AuditSink]:
        with closing(database.open(timeout="60s")) as sink:
            for table in ("audit_record", "audit_writer"):
                database.sql(f"ALTER TABLE {table} RENAME TO {table}_away")
            yield sink
            for table in ("audit_record", "audit_writer"):
                database.sql(f"ALTER TABLE {table}_away RENAME TO {table}")


class TestAuditSqlTrail(InBothDatabases, TrailContract):
    @pytest.fixture
    def change_a_byte(self, database: TrailDatabase) -> Callable[[], None]:
        return lambda: void(
            database.sql("UPDATE audit_record SET line = replace(line, 'press', 'prose') WHERE seq = 3")
        )

    @pytest.fixture
    def remove_the_last_line(self, database: TrailDatabase) -> Callable[[], None]:
        return lambda: void(database.sql("DELETE FROM audit_record WHERE seq = (SELECT max(seq) FROM audit_record)"))
