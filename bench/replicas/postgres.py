"""One PostgreSQL for all replicas, and a standby that follows it and gets every commit before it counts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from tsa_backends.postgresql_server import PASSWORD, USER, PostgresqlServer, postgresql_program

_NAME = "standby"
_SECONDS = 60.0
_SETTINGS = ("max_connections = 100", "wal_keep_size = 256MB")


class Primary(PostgresqlServer):
    """Waits for the disk; after `wait_for_standby`, for the standby too."""

    def __init__(self) -> None:
        super().__init__(durable=True, settings=_SETTINGS)

    def wait_for_standby(self) -> None:
        """Let no commit return before the standby has it (`synchronous_standby_names`)."""
        self.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{_NAME}'")
        self.sql("SELECT pg_reload_conf()")


class Standby(PostgresqlServer):
    """A copy of the primary that is read-only until it is promoted."""

    def __init__(self, primary: PostgresqlServer) -> None:
        super().__init__(durable=True, settings=_SETTINGS)
        self._primary = primary

    def make(self) -> None:
        """Copy the primary's files; the password stays off the command line."""
        source = f"host=127.0.0.1 port={self._primary.port} user={USER} application_name={_NAME}"
        command: Sequence[str] = [
            *self._prefix, postgresql_program("pg_basebackup"), "--pgdata", str(self._data), "--dbname", source,
            "--write-recovery-conf", "--checkpoint", "fast", "--no-sync",
        ]  # fmt: skip
        subprocess.run(
            command, env={**os.environ, "PGPASSWORD": PASSWORD}, cwd="/", check=True, timeout=_SECONDS,
            capture_output=True,
        )  # fmt: skip
        with (self._data / "postgresql.conf").open("a") as stream:
            stream.write("".join(f"{line}\n" for line in self._settings))

    def promote(self) -> None:
        """Make it the primary."""
        assert self.sql("SELECT pg_promote(true, 60)") == "t"
