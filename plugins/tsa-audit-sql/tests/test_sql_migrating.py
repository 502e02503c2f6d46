"""Tables are made once, whoever starts at the same time, and never by a version that does not know them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from tsa_audit_sql import plugin
from tsa_audit_sql.options import AuditSqlOptions
from tsa_audit_sql.schema import REVISION
from tsa_backends.postgresql_server import PASSWORD, USER
from tsa_core.api import AuditSink, ConfigError
from tsa_core.cli.audit.group import audit
from tsa_core.config import load_settings
from tsa_core.service import Service
from tsa_core.testing import on_threads

from .databases import SqliteTrail, TrailDatabase, record


def check(options: Mapping[str, object]) -> AuditSink:
    """Open what `timestamp-server check` does."""
    [provider] = plugin.tsa_audit_sinks()
    assert provider.open_for_check is not None
    return provider.open_for_check(AuditSqlOptions.model_validate(options))


def test_processes_that_start_together_make_the_tables_once(database: TrailDatabase) -> None:
    def start(number: int) -> None:
        with database.opened(timeout="60s") as sink:
            sink.write(record(number))

    on_threads(start, range(1, 7))
    assert sorted(database.serials()) == [1, 2, 3, 4, 5, 6]
    assert database.sql("SELECT version_num FROM audit_version") == [REVISION]
    assert database.damage() == []


def test_without_migrate_the_start_fails_until_the_command_was_run(database: TrailDatabase, tmp_path: Path) -> None:
    closed = {**database.options, "migrate": False}
    for opens in (lambda: database.open(migrate=False), lambda: check(closed), database.check):
        with pytest.raises(ConfigError, match=r"timestamp-server audit migrate|is not there|unable to open"):
            opens()
    config = tmp_path / "tsa.toml"
    [(name, value)] = database.options.items()
    config.write_text(f'[audit]\nsinks = ["auditsql"]\n[audit.auditsql]\nmigrate = false\n{name} = "{value}"\n')
    for expected in (f"are at revision {REVISION} now", "nothing to do"):
        result = CliRunner().invoke(audit, ["migrate", "--config", str(config)])
        assert (result.exit_code, expected in result.output) == (0, True), result.output
    assert check(closed).health().healthy
    with database.opened(migrate=False) as sink:
        sink.write(record(1))


@pytest.mark.plugin("memory")
@pytest.mark.parametrize("checking", [True, False], ids=["check", "serve"])
def test_a_timeout_that_the_core_cuts_short_is_refused(sqlite: SqliteTrail, tmp_path: Path, checking: bool) -> None:
    """In a check of a configuration as at the start: the default of the core is 5 s."""
    config = tmp_path / "tsa.toml"
    text = '[profiles.default]\nsigner = "memory:"\n[audit]\nsinks = ["auditsql"]\n'
    text += f'[audit.auditsql]\npath = "{sqlite.path}"\n'
    config.write_text(f'{text}timeout = "5s"\n')
    told = r"audit\.auditsql\.timeout: it must be shorter than \[audit\] sink_timeout, 5 s"
    with pytest.raises(ConfigError, match=told):
        Service(load_settings(config), checking=checking)
    config.write_text(f'{text}timeout = "4900ms"\n')
    Service(load_settings(config), checking=checking).close()


def test_tables_of_a_newer_version_are_refused(database: TrailDatabase) -> None:
    with database.opened() as sink:
        sink.write(record(1))
    database.sql("UPDATE audit_version SET version_num = '9999'")
    for opens in (database.open, lambda: check(database.options), database.check):
        with pytest.raises(ConfigError, match="a newer tsa-audit-sql made"):
            opens()


def test_a_check_changes_nothing(database: TrailDatabase) -> None:
    assert check(database.options).health().healthy
    if isinstance(database, SqliteTrail):
        assert not database.path.parent.exists()
    else:
        assert database.sql("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()") == []


def test_a_user_without_rights_is_told_so(database: TrailDatabase) -> None:
    if isinstance(database, SqliteTrail):
        return
    database.sql("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    database.sql("DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO guest', current_schema()); END $$")
    url = str(database.options["url"]).replace(f"{USER}:{PASSWORD}@", "guest:guest@")

    try:
        with pytest.raises(ConfigError, match="GRANT CREATE ON SCHEMA"):
            check({"url": url})
        with pytest.raises(ConfigError, match="permission denied for schema"):
            database.open(url=url)
    finally:
        database.sql("DROP OWNED BY guest")
        database.sql("DROP ROLE guest")
