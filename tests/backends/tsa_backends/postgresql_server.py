"""A real PostgreSQL, with a password, in a folder and on a port of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from tsa_backends.server_process import ServerProcess, free_port
from tsa_core.testing import missing, wait_until

PASSWORD = "pg-secret-5b1f97"
"""A text that a search of logs cannot find by accident."""
USER = "tsa"
_SYSTEM_USER = "postgres"


def find_program(name: str) -> str | None:
    """Return the path of a program of PostgreSQL's server, None when there is none; Debian keeps them off the PATH."""
    if found := shutil.which(name):
        return found
    versions = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    newest = max(versions, key=lambda path: int(path.parts[-3]), default=None)
    return None if newest is None else str(newest)


def postgresql_program(name: str) -> str:
    """Return the same; without it, skip or fail as `missing` does."""
    found = find_program(name)
    if found is None:
        missing(f"{name} is not installed (Debian: apt-get install postgresql)")
    return found


class PostgresqlServer:
    """One server. As root it runs as Debian's user postgres, because it refuses to run as root.

    Without `durable` it waits for no disk. `settings` are lines of postgresql.conf.
    """

    def __init__(self, *, durable: bool = False, settings: Sequence[str] = ()) -> None:
        program = postgresql_program("postgres")
        self.port = free_port()
        # Not below pytest's folder, which other users cannot enter.
        self.folder = Path(tempfile.mkdtemp(prefix="tsa-pg-"))
        self._data = self.folder / "data"
        self._settings = (
            "listen_addresses = '127.0.0.1'",
            f"port = {self.port}",
            f"unix_socket_directories = '{self.folder}'",
            "max_connections = 60",
            "shared_buffers = 64MB",
            *(() if durable else ("fsync = off", "full_page_writes = off")),
            *settings,
        )
        self._prefix: tuple[str, ...] = ()
        if os.geteuid() == 0:
            account = pwd.getpwnam(_SYSTEM_USER)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            self._prefix = ("setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups", "--")
        self._numbers = count(1)
        self.process = ServerProcess([*self._prefix, program, "-D", self._data], self.folder / "server.log")

    def url(self, database: str = "postgres", *, host: str = "", query: str = "") -> str:
        """Return the URL of a database; `host` is HOST:PORT, or several with commas, of other servers."""
        host = host or f"127.0.0.1:{self.port}"
        return f"postgresql://{USER}:{PASSWORD}@{host}/{database}{query and f'?{query}'}"

    def make(self) -> None:
        """Make the files of the server."""
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)  # in a folder that nobody else can enter; the server's user reads it once
        self._run(
            postgresql_program("initdb"), "-D", str(self._data), "-U", USER, "--pwfile", str(secret),
            "--auth=scram-sha-256", "--no-sync", "--encoding=UTF8", "--no-locale",
        )  # fmt: skip
        secret.unlink()
        with (self._data / "postgresql.conf").open("a") as stream:
            stream.write("".join(f"{line}\n" for line in self._settings))

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        if not self._data.exists():
            self.make()
        self.process.start(self._answers)

    def stop(self) -> None:
        """Stop it as an operator would; connections are closed."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """Stop it without a checkpoint, as a kill of all its processes would."""
        self._end(signal.SIGQUIT)

    def freeze(self) -> None:
        """Let all of its processes answer nothing, and keep their connections."""
        for pid in self._pids():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them answer again."""
        for pid in self._pids():
            os.kill(pid, signal.SIGCONT)

    def remove(self) -> None:
        """Stop it and remove its files."""
        if self.process.running:
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def new_schema(self) -> str:
        """Make a schema of the database postgres, which costs less than a database; return a URL that leads there."""
        name = f"audit_{os.getpid()}_{next(self._numbers)}"
        self.sql(f"CREATE SCHEMA {name}")
        return self.url(query=f"options=-csearch_path%3D{name}")

    def new_database(self) -> str:
        """Make an empty database and return its name."""
        name = f"audit_{os.getpid()}_{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name}")
        return name

    def sql(self, statement: str, *, database: str = "postgres") -> str:
        """Run a statement by psql and return what it prints: rows in lines, columns divided by |."""
        result = subprocess.run(
            [postgresql_program("psql"), "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement],
            env=self._environment(database),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    def _environment(self, database: str) -> dict[str, str]:
        own = {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": USER, "PGPASSWORD": PASSWORD}
        return {**os.environ, **own, "PGDATABASE": database, "PGCONNECT_TIMEOUT": "10"}

    def _answers(self) -> bool:
        command = [postgresql_program("pg_isready"), "-q"]
        return subprocess.run(command, env=self._environment("postgres"), check=False, timeout=30).returncode == 0

    def _end(self, number: signal.Signals) -> None:
        self.process.signal(number)
        wait_until(lambda: not self.process.running, seconds=60, what="PostgreSQL has ended")

    def _pids(self) -> list[int]:
        [first, *_] = (self._data / "postmaster.pid").read_text().splitlines()
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [int(first), *map(int, children)]

    def _run(self, *command: str) -> None:
        result = subprocess.run([*self._prefix, *command], capture_output=True, text=True, check=False, timeout=120)
        assert result.returncode == 0, result.stderr
