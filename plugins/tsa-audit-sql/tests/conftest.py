"""The databases of this folder's tests: a file, and a database of a running PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from .databases import PostgresqlTrail, SqliteTrail, TrailDatabase


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> TrailDatabase:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return SqliteTrail(tmp_path / "trail" / "audit.db")
    return PostgresqlTrail(request.getfixturevalue("postgresql_server"))


@pytest.fixture
def sqlite(tmp_path: Path) -> SqliteTrail:
    """An SQLite database."""
    return SqliteTrail(tmp_path / "trail" / "audit.db")
