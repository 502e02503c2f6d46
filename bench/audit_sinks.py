"""What an audit trail costs: none, a file, SQLite, PostgreSQL with its disk on this machine, a public log; all durable.

    python -m bench.audit_sinks [--quick]

All servers run at once and take turns under load; figures are medians over the rounds. A sink of a database is remote:
requests run in threads, and those that come together share a transaction. `database cpu us` is what PostgreSQL's
processes use for each request, beside the server's own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bench.measure import Server, cpu_seconds, have_wrk
from bench.report import Row, print_rows
from bench.turns import KEY_OF_SERVERS, take_turns
from tsa_core.api.transparency import NoteSigner, SignatureType

if TYPE_CHECKING:
    from tsa_backends.postgresql_server import PostgresqlServer

_PREFIX = "TSA_AUDIT__"
LOG_KEY = NoteSigner("log.example/bench", SignatureType.ED25519, bytes(32))
_BACKENDS = Path(__file__).parents[1] / "tests" / "backends"


def installed() -> bool:
    """Say whether the sinks that are measured are installed."""
    return all(find_spec(name) is not None for name in ("tsa_audit_file", "tsa_audit_sql", "tsa_log"))


@contextmanager
def _postgresql() -> Iterator[PostgresqlServer | None]:
    """Yield a PostgreSQL that waits for its disk, None where there is none."""
    sys.path.insert(0, str(_BACKENDS))
    from tsa_backends.postgresql_server import PostgresqlServer, find_program

    if find_program("postgres") is None or find_spec("psycopg") is None:
        yield None
        return
    server = PostgresqlServer(durable=True)
    try:
        server.start()
        yield server
    finally:
        server.remove()


def _environments(folder: Path, postgresql: PostgresqlServer | None) -> dict[str, dict[str, str]]:
    sql, path = {f"{_PREFIX}SINKS": "auditsql"}, f"{_PREFIX}AUDITSQL__PATH"
    found = {
        "no trail": {},
        "auditfile": {f"{_PREFIX}SINKS": "auditfile", f"{_PREFIX}AUDITFILE__PATH": str(folder / "audit.jsonl")},
        "auditsql, SQLite": {**sql, path: str(folder / "audit.db")},
        "tokenlog": {
            f"{_PREFIX}SINKS": "tokenlog",
            f"{_PREFIX}TOKENLOG__ORIGIN": LOG_KEY.key.name,
            f"{_PREFIX}TOKENLOG__DIRECTORY": str(folder / "log"),
            f"{_PREFIX}TOKENLOG__KEY": LOG_KEY.text(),
        },
    }
    if postgresql is not None:
        found["auditsql, PostgreSQL"] = {**sql, f"{_PREFIX}AUDITSQL__URL": postgresql.url(postgresql.new_database())}
    return found


def run(*, quick: bool) -> list[Row]:
    """Measure and return the table's rows."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        postgresql = stack.enter_context(_postgresql())
        servers = {}
        for name, environment in _environments(folder, postgresql).items():
            servers[name] = Server(environment={**environment, **KEY_OF_SERVERS})
            stack.callback(servers[name].close)
        others = {}
        if postgresql is not None:
            pid = postgresql.process.pid
            others["auditsql, PostgreSQL"] = ("database cpu us", lambda: cpu_seconds(pid))
        return take_turns("audit sinks", servers, quick=quick, others=others)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few seconds, to see that it works")
    arguments = parser.parse_args()
    if not have_wrk():
        raise SystemExit("wrk is not installed (Debian: apt-get install wrk)")
    if not installed():
        raise SystemExit("tsa-audit-file, tsa-audit-sql and tsa-log are not all installed")
    print_rows(run(quick=arguments.quick))


if __name__ == "__main__":
    main()
