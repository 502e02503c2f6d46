"""SQLite: one file beside its log (WAL), for the processes of one machine."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final

from sqlalchemy import Connection, Transaction, event

from tsa_audit_sql.database import Database
from tsa_core.api import ConfigError

_FILE_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700
_READING: Final = "audit_reading"


class SqliteDatabase(Database):
    """A file. Transactions that write take the lock at once, so that none has to give up half way."""

    setting: ClassVar[str] = "audit.auditsql.path"

    def __init__(self, path: Path, *, seconds: float) -> None:
        self._path = path
        self.where = str(path)
        self._turn: int | None = None
        super().__init__("sqlite+pysqlite://", seconds=seconds)
        event.listen(self.engine, "begin", _begin)

    def make(self) -> None:
        """Make the file, for its owner alone, when it is not there."""
        self._path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _FILE_MODE)
        except FileExistsError:
            return
        try:
            give_to_owner_of(descriptor, self._path.parent)
        finally:
            os.close(descriptor)

    def _connect(self) -> Any:
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=self.seconds,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Connect for reading; all that is read is of one moment."""
        with self.engine.connect() as connection:
            connection.execution_options(**{_READING: True})
            with connection.begin():
                yield connection

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold a lock beside the file: SQLite's own is tried again after ever longer pauses, of up to 0.1 s."""
        if self._turn is None:
            self._turn = self._open_lock("-turn")
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the connections that are not in use, and the lock."""
        super().close()
        self._close_turn()

    def forget(self) -> None:
        """In a forked process: leave the connections to the parent, and open the lock anew."""
        super().forget()
        self._close_turn()

    def _close_turn(self) -> None:
        descriptor, self._turn = self._turn, None
        if descriptor is not None:
            os.close(descriptor)

    def lock_schema(self, connection: Connection) -> None:
        """BEGIN IMMEDIATE has locked the whole file."""

    def try_lock_seals(self, connection: Connection) -> bool:  # noqa: ARG002 - the file has one lock
        """Return True: what two processes computed at once is found out when they store it."""
        return True

    @contextmanager
    def try_lock_anchors(self) -> Iterator[bool]:
        """Lock a file of its own beside the database, which the system unlocks when this process ends."""
        try:
            descriptor = self._open_lock(".anchoring")
        except OSError as error:
            raise ConfigError(
                f"{self.where}.anchoring: it cannot be opened: {error.strerror or error}; run this as its owner",
                path=self.setting,
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
        finally:
            os.close(descriptor)

    def _open_lock(self, suffix: str) -> int:
        """Open a file beside the database, made for the database's owner when it is not there."""
        descriptor = os.open(f"{self._path}{suffix}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
        give_to_owner_of(descriptor, self._path)
        return descriptor

    def interrupt(self, connection: Connection) -> None:
        """Let a statement fail; one that waits for the lock fails by itself in time."""
        driver = connection.connection.driver_connection
        if isinstance(driver, sqlite3.Connection):
            driver.interrupt()

    def take_your_time(self, connection: Connection) -> None:
        """Do nothing: SQLite limits the wait for the lock alone."""

    def commit(self, transaction: Transaction) -> str:
        """Commit; SQLite warns of nothing."""
        transaction.commit()
        return ""

    def why_not_writable(self) -> str:
        """Return why a server could not write here."""
        return "" if os.access(self._path, os.W_OK) else "it may not be written to"

    def complaint(self) -> str:
        """Return nothing: each connection is set to sync."""
        return ""


def give_to_owner_of(descriptor: int, path: Path) -> None:
    """As root, give a file to the owner of another one: a command of root's must leave what the server may write to."""
    if os.geteuid() == 0:
        status = path.stat()
        os.fchown(descriptor, status.st_uid, status.st_gid)


def _begin(connection: Connection) -> None:
    reading = connection.get_execution_options().get(_READING, False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
