"""A real server with the sink: every token that a client has is in the trail, whatever ends server or database."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tsa_backends.postgresql_server import PASSWORD, PostgresqlServer
from tsa_core.protocol.reply import read_reply
from tsa_core.protocol.tstinfo_reader import read_tst_info
from tsa_core.testing import ServerProcess, encode_request, on_threads, wait_until

from .databases import PostgresqlTrail, SqliteTrail, TrailDatabase

pytestmark = pytest.mark.plugin("memory")

BODY = encode_request()
SYSTEM_FAILURE = bytes.fromhex("03050600000040")


def configured(folder: Path, database: TrailDatabase) -> Path:
    """Return a configuration with this database; the URL stands in a file of its own."""
    config = folder / "tsa.toml"
    if isinstance(database, SqliteTrail):
        where = f'path = "{database.path}"'
    else:
        (folder / "url").write_text(f"{database.options['url']}\n")
        where = 'url = { file = "url" }'
    config.write_text(
        f'[profiles.default]\nsigner = "memory:"\n[audit]\nsinks = ["auditsql"]\nsink_timeout = "25s"\n'
        f'[audit.auditsql]\ntimeout = "20s"\n{where}\n[metrics]\nport = 0\n'
    )
    return config


def stamped(server: ServerProcess) -> int | None:
    """Return the serial number of a new token, None when there is none, which must be systemFailure."""
    reply = server.stamp(BODY)
    if SYSTEM_FAILURE in reply.body:
        return None
    token = read_reply(reply.body).token
    assert token is not None
    return read_tst_info(token.content).serial_number


def red_then_green(server: ServerProcess, postgresql: PostgresqlServer) -> None:
    """Stop the database of a server, and start it again."""
    assert server.get("/readyz").status == 200
    postgresql.crash()
    try:
        assert stamped(server) is None
        wait_until(lambda: server.get("/readyz").status == 503, seconds=60, what="the server is not ready")
        assert b'"name": "audit:auditsql", "healthy": false' in server.get("/readyz").body
    finally:
        postgresql.start()
    wait_until(lambda: server.get("/readyz").status == 200, seconds=60, what="the server is ready again")
    server.wait_for_log(f"127.0.0.1:{postgresql.port}")
    assert "Traceback" not in server.log


def test_a_stopped_database_is_red_then_green_and_a_kill_in_the_middle_of_commits_loses_nothing(
    database: TrailDatabase, tmp_path: Path
) -> None:
    received: list[int] = []
    enough = threading.Event()
    with ServerProcess(configured(tmp_path, database)) as server:

        def client(_: object) -> None:
            while True:
                try:
                    number = stamped(server)
                except OSError:
                    return  # the server is gone
                if number is not None:
                    received.append(number)
                if len(received) >= 60:
                    enough.set()

        def kill() -> None:
            enough.wait(120)
            server.kill()

        if isinstance(database, PostgresqlTrail):
            received += [number for number in on_threads(lambda _: stamped(server), range(10)) if number is not None]
            assert len(received) == 10
            red_then_green(server, database.server)
        killer = threading.Thread(target=kill)
        killer.start()
        on_threads(client, range(8))
        killer.join()
        assert PASSWORD not in server.log
    assert len(received) >= 60
    assert set(received) <= set(database.serials())
    assert database.damage() == []
