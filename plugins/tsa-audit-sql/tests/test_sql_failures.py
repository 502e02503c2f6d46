"""What goes wrong with a database withholds tokens, says why without a secret, and is over when it is over."""

from __future__ import annotations

import logging
import os
import resource
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from pydantic import ValidationError

from tsa_audit_sql.options import AuditSqlOptions
from tsa_audit_sql.sink import open_sink
from tsa_backends.postgresql_server import PASSWORD, USER, PostgresqlServer
from tsa_backends.server_process import free_port
from tsa_core.api import AuditError, ConfigError, TemporaryFailure
from tsa_core.api.trail import Query, UnsupportedByTrail
from tsa_core.testing import wait_until

from .commit_relay import CommitRelay
from .databases import PostgresqlTrail, SqliteTrail, TrailDatabase, record


@pytest.fixture
def postgresql(postgresql_server: PostgresqlServer) -> PostgresqlTrail:
    return PostgresqlTrail(postgresql_server)


def test_a_locked_file_withholds_until_it_is_free(sqlite: SqliteTrail) -> None:
    with sqlite.opened(timeout="300ms") as sink:
        with closing(sqlite3.connect(sqlite.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(AuditError):
                sink.write(record(1))
            assert not sink.health().healthy
            other.execute("ROLLBACK")
        wait_until(lambda: sink.health().healthy, seconds=60, what="the sink is well again")
        sink.write(record(2))
    assert 2 in sqlite.serials()
    assert sqlite.damage() == []


@pytest.mark.needs(hasattr(resource, "prlimit"), "limits the size of files")
def test_a_full_disk_withholds_until_there_is_room(sqlite: SqliteTrail) -> None:
    """A limit on the size of files fails as a full disk does."""
    with sqlite.opened() as sink:
        sink.write(record(1))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, hard))
        try:
            with pytest.raises(AuditError, match="disk"):
                sink.write(record(2))
            assert not sink.health().healthy
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert sink.health().healthy
        sink.write(record(3))
    assert sqlite.serials() == [1, 3]
    assert sqlite.damage() == []


def test_a_stopped_server_withholds_until_it_runs_again(postgresql: PostgresqlTrail) -> None:
    with postgresql.opened(timeout="20s") as sink:
        sink.write(record(1))
        server = postgresql.server
        server.crash()
        try:
            with pytest.raises(AuditError, match=f"127.0.0.1:{server.port}"):
                sink.write(record(2))
            status = sink.health()
            assert (status.healthy, status.reason) == (False, "the audit database cannot be written; see the log")
        finally:
            server.start()
        wait_until(lambda: sink.health().healthy, seconds=60, what="the sink is well again")
        sink.write(record(3))
    assert postgresql.serials() == [1, 3]
    assert postgresql.damage() == []


def test_a_server_that_hangs_is_left_at_the_deadline(postgresql: PostgresqlTrail) -> None:
    with postgresql.opened(timeout="1s") as sink:
        sink.write(record(1))
        postgresql.server.freeze()
        try:
            with pytest.raises(AuditError, match=r"within 1 s|has waited 1 s|timeout"):
                sink.write(record(2))
        finally:
            postgresql.server.thaw()
        wait_until(lambda: sink.health().healthy, seconds=60, what="the sink is well again")
        sink.write(record(3))
    assert {1, 3} <= set(postgresql.serials()) <= {1, 2, 3}
    assert postgresql.damage() == []


@pytest.mark.parametrize("before", [True, False], ids=["lost", "stored"])
def test_a_commit_without_an_answer_withholds_and_is_not_repeated(postgresql: PostgresqlTrail, before: bool) -> None:
    with closing(CommitRelay(postgresql.server.port, before=before)) as relay:
        url = f"{postgresql.url}&sslmode=disable".replace(str(postgresql.server.port), str(relay.port))
        with closing(open_sink(AuditSqlOptions(url=url, timeout="20s"))) as sink:
            sink.write(record(1))
            relay.armed = True
            with pytest.raises(AuditError, match="whether the record is stored is unknown"):
                sink.write(record(2))
            assert not relay.armed
            sink.write(record(3))
            assert sink.health().healthy
    assert postgresql.serials() == ([1, 3] if before else [1, 2, 3])
    assert postgresql.damage() == []


def test_a_commit_that_did_not_wait_for_the_standby_withholds(postgresql: PostgresqlTrail) -> None:
    """PostgreSQL says so by a warning alone, when somebody cancels the wait: it has committed, on one machine."""
    server = postgresql.server
    waiting = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'"

    def cancel() -> bool:
        return server.sql(f"SELECT pg_cancel_backend(pid) {waiting}") == "t"

    with postgresql.opened(timeout="60s") as sink, ThreadPoolExecutor(1) as pool:
        sink.write(record(1))
        try:
            server.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            server.sql("SELECT pg_reload_conf()")
            wait_until(lambda: server.sql("SHOW synchronous_standby_names") != "", seconds=60, what="the setting holds")
            written = pool.submit(sink.write, record(2))
            wait_until(cancel, seconds=60, what="the commit waits for the standby")
            with pytest.raises(AuditError, match=r"canceling wait for synchronous replication.*will last is unknown"):
                written.result(60)
        finally:
            server.sql("ALTER SYSTEM RESET synchronous_standby_names")
            server.sql("SELECT pg_reload_conf()")
        wait_until(lambda: server.sql("SHOW synchronous_standby_names") == "", seconds=60, what="the setting is gone")
        sink.write(record(3))
    assert postgresql.serials() == [1, 2, 3]
    assert postgresql.damage() == []


def test_a_record_is_not_stored_twice(database: TrailDatabase) -> None:
    with database.opened() as sink, database.opened() as other:
        same = record(1)
        sink.write(same)
        for each in (sink, other):
            with pytest.raises(AuditError, match=r"(?i)unique"):
                each.write(same)
        sink.write(record(2))
    assert database.serials() == [1, 2]
    assert database.damage() == []


def test_a_standby_says_what_it_is_and_the_next_request_tries_again(postgresql_server: PostgresqlServer) -> None:
    postgresql = PostgresqlTrail(postgresql_server, postgresql_server.new_database())
    with postgresql.opened(timeout="20s") as sink:
        sink.write(record(1))
        server = postgresql.server
        server.sql(f"ALTER DATABASE {postgresql.name} SET default_transaction_read_only = on")
        server.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{postgresql.name}'")
        with pytest.raises(AuditError, match=r"read-only .*the primary is needed"):
            sink.write(record(2))
        server.sql(f"ALTER DATABASE {postgresql.name} RESET default_transaction_read_only")
        sink.write(record(3))
    assert postgresql.serials() == [1, 3]
    assert postgresql.damage() == []


def test_a_transaction_that_may_not_write_is_left(postgresql: PostgresqlTrail) -> None:
    """What a primary says on open connections when it becomes a standby."""
    with postgresql.opened(timeout="20s") as sink:
        sink.write(record(1))
        connection = sink._writer._connection
        assert connection is not None
        connection.exec_driver_sql("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        connection.commit()
        with pytest.raises(AuditError, match="the primary is needed"):
            sink.write(record(2))
        sink.write(record(3))
    assert postgresql.serials() == [1, 3]


def test_the_host_that_takes_writes_is_found(postgresql: PostgresqlTrail) -> None:
    hosts = f"127.0.0.1:{free_port()},127.0.0.1:{postgresql.server.port}"
    url = postgresql.url.replace(f"127.0.0.1:{postgresql.server.port}", hosts)
    with closing(open_sink(AuditSqlOptions(url=url, timeout="20s"))) as sink:
        sink.write(record(1))
    assert postgresql.serials() == [1]


def test_rows_that_are_gone_close_the_gate(database: TrailDatabase, caplog: pytest.LogCaptureFixture) -> None:
    with database.opened(timeout="20s") as sink:
        sink.write_all([record(1), record(2)])
        database.sql("UPDATE audit_writer SET head_seq = 2, head_hash = (SELECT hash FROM audit_record WHERE seq = 2)")
        assert sink.health().reason == "the audit trail is not as it was left; see the log"
        with pytest.raises(
            AuditError, match=r"rows were removed, or the database is an older copy.*until the server is re"
        ):
            sink.write(record(3))
        with database.trail() as trail, pytest.raises(UnsupportedByTrail, match="restart the server"):
            trail.accept("found out")
    assert [each.levelno for each in caplog.records].count(logging.CRITICAL) == 1
    assert database.serials() == [1, 2]


def test_a_forked_process_has_a_chain_of_its_own(database: TrailDatabase) -> None:
    with database.opened(timeout="60s") as sink:
        sink.write(record(1))
        pid = os.fork()
        if pid == 0:
            try:
                sink.write(record(2))
                sink.close()
                os._exit(0)
            finally:
                os._exit(1)  # not reached when all went well
        assert os.waitpid(pid, 0)[1] == 0
        sink.write(record(3))
    assert sorted(database.serials()) == [1, 2, 3]
    assert len(database.sql("SELECT id FROM audit_writer")) == 2
    assert database.damage() == []


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://{USER}:{PASSWORD}@127.0.0.1:nothing/tsa",
        f"postgresql://{USER}:{PASSWORD}%zz@127.0.0.1/tsa",
        f"postgresql://{USER}:{PASSWORD}@[::1/tsa",
        f"postgresql://{USER}:{PASSWORD}@127.0.0.1/tsa?no_such={PASSWORD}",
        f"postgresql+psycopg://{USER}:{PASSWORD}@127.0.0.1/tsa",
        f"mysql://{USER}:{PASSWORD}@127.0.0.1/tsa",
        f"postgresql://{USER}:{PASSWORD}@127.0.0.1:1/tsa",
        f"postgresql://{USER}:wrong-{PASSWORD}@HERE/postgres",
    ],
)
def test_no_error_and_no_log_has_the_password(
    url: str, postgresql_server: PostgresqlServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    options = AuditSqlOptions(url=url.replace("HERE", f"127.0.0.1:{postgresql_server.port}"))
    with pytest.raises(ConfigError) as caught:
        open_sink(options)
    assert str(caught.value).startswith("audit.auditsql.url: ")
    chain: BaseException | None = caught.value
    texts = [repr(options), str(options), caplog.text]
    while chain is not None:
        texts += [str(chain), repr(chain)]
        chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)
    assert not any(PASSWORD in text for text in texts)


def test_a_server_that_cannot_be_reached_now_may_be_there_later() -> None:
    with pytest.raises(TemporaryFailure, match=r"audit\.auditsql\.url: 127\.0\.0\.1:1/tsa: "):
        open_sink(AuditSqlOptions(url="postgresql://tsa@127.0.0.1:1/tsa"))


@pytest.mark.parametrize("options", [{}, {"path": "a.db", "url": "postgresql://h/d"}])
def test_one_database_must_be_named(options: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="give `path` for SQLite or `url` for PostgreSQL"):
        AuditSqlOptions.model_validate(options)


def test_a_folder_that_cannot_be_made_is_one_line(sqlite: SqliteTrail) -> None:
    sqlite.path.parent.write_text("a file")
    with pytest.raises(ConfigError, match=r"audit\.auditsql\.path: .*write access"):
        sqlite.open()


def test_a_file_that_is_no_database_is_one_line(sqlite: SqliteTrail) -> None:
    sqlite.path.parent.mkdir()
    sqlite.path.write_text("something else, long enough to be read as a header of a database: " * 20)
    with pytest.raises(ConfigError, match="file is not a database"):
        sqlite.open()


def test_the_file_is_its_owners_alone(sqlite: SqliteTrail) -> None:
    with sqlite.opened() as sink:
        sink.write(record(1))
        assert {path.stat().st_mode & 0o777 for path in sqlite.path.parent.iterdir()} == {0o600}
        with sqlite.trail() as trail:
            assert len(list(trail.find(Query(serial_number=1)))) == 1
