"""A process's chain of rows, and the connection that stores them."""

from __future__ import annotations

import logging
import os
import re
import socket
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from time import monotonic
from typing import Any, Final

from sqlalchemy import Connection, and_, bindparam, insert, select, update
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from tsa_audit_sql.database import Database
from tsa_audit_sql.partitions import month_of
from tsa_audit_sql.rows import Row, own_row
from tsa_audit_sql.schema import records, writers
from tsa_core.api import AuditError
from tsa_core.api.trail import BEGINNING, Link, begin_hash, seal

log = logging.getLogger(__name__)

_IDLE_SECONDS: Final = 1.0
"""After that a connection is tried out (pre-ping) before it is used again."""
_START: Final = bytes.fromhex(BEGINNING.digest)

_HEAD_IS: Final = and_(
    writers.c.id == bindparam("writer"),
    writers.c.head_seq == bindparam("old_seq"),
    writers.c.head_hash == bindparam("old_hash"),
)
_MOVE_HEAD: Final = (
    update(writers).where(_HEAD_IS).values(head_seq=bindparam("new_seq"), head_hash=bindparam("new_hash"))
)
_READ_HEAD: Final = select(writers.c.head_seq, writers.c.head_hash).where(writers.c.id == bindparam("writer"))
_INSERT: Final = insert(records)


class LostRowsError(AuditError):
    """Rows that this process stored are not there any more."""


def new_name() -> str:
    """Return a name for the chain of this process: its machine, its number, and what makes it unique."""
    host = re.sub(r"[^!-~]", "", socket.gethostname(), flags=re.ASCII)[:100] or "host"
    return f"{host}.{os.getpid()}.{uuid.uuid4().hex[:16]}"


class Writer:
    """Stores rows, each batch in one transaction that also moves the chain's head. For one thread at a time.

    A transaction that fails before COMMIT has stored nothing, and is tried once more when the connection was to blame.
    When COMMIT fails, nobody knows: the records count as not stored, and the next transaction looks, under the lock of
    the head's row, whether the chain goes on behind them or in front of them.
    """

    def __init__(self, database: Database, key: bytes | None) -> None:
        self._database = database
        self._hash = begin_hash(key)
        self._connection: Connection | None = None
        self._used_at = 0.0
        self._id: int | None = None
        self._doubtful: Link | None = None
        """Where the chain would be if the COMMIT whose outcome is unknown has worked."""
        self._lost = ""
        self.name = new_name()
        self.link = BEGINNING

    def commit(self, rows: Sequence[Row]) -> None:
        """Store rows, or look whether the chain ends as it was left; raises AuditError when they may not be stored."""
        if self._lost:
            raise LostRowsError(self._lost)
        if rows or self._id is None:
            self._attempt(rows, again=True)
        else:
            self._look()

    def _look(self) -> None:
        try:
            connection = self._connected()
            with connection.begin():
                self._find_head(connection)
        except SQLAlchemyError as error:
            self._disconnect()
            raise AuditError(self._told(error)) from None

    def interrupt(self) -> None:
        """From another thread: let what this one waits for fail."""
        if (connection := self._connection) is not None:
            try:
                self._database.interrupt(connection)
            except SQLAlchemyError as error:
                log.debug("the connection has gone already: %s", self._database.reason(error))

    def close(self) -> None:
        """Give the connection back."""
        self._disconnect(broken=False)

    def _attempt(self, rows: Sequence[Row], *, again: bool) -> None:
        committing = False
        try:
            now = datetime.now(UTC)
            if (partitions := self._database.partitions) is not None:
                partitions.make({month_of(now), *(month_of(row.at) for row in rows)})
            connection = self._connected()
            with self._database.turn(), connection.begin() as transaction:
                link, identifier = self._insert(connection, rows)
                committing = True
                self._doubtful = link
                if warning := self._database.commit(transaction):
                    raise AuditError(f"{self._database.where}: {warning}; whether the record will last is unknown")
        except SQLAlchemyError as error:
            lost_connection = isinstance(error, DBAPIError) and error.connection_invalidated
            if self._database.partitions is not None:  # another process may have removed one
                self._database.partitions.forget()
            self._disconnect()
            if committing:
                raise AuditError(f"{self._told(error)}; whether the record is stored is unknown") from None
            if not (lost_connection and again):
                raise AuditError(self._told(error)) from None
        except OSError as error:
            self._disconnect()
            raise AuditError(f"the audit database {self._database.where}: {error.strerror or error}") from None
        except BaseException:
            self._disconnect()
            raise
        else:
            self.link, self._id, self._doubtful = link, identifier, None
            self._used_at = monotonic()
            return
        self._attempt(rows, again=False)

    def _insert(self, connection: Connection, rows: Sequence[Row]) -> tuple[Link, int]:
        """Add the rows behind the head, and move it; return where it is then, and the writer's number."""
        identifier = self._id
        if identifier is None:
            identifier = self._register(connection)
            facts = {"writer": self.name, "pid": os.getpid(), "version": version("tsa-audit-sql")}
            rows = [own_row("open", datetime.now(UTC), **facts), *rows]
        elif self._doubtful is not None:
            self._find_head(connection)
        before = self.link
        link = before
        values: list[dict[str, Any]] = []
        for row in rows:
            line, link = seal(row.members, link, self._hash)
            values.append(
                {
                    "writer": identifier,
                    "seq": link.seq,
                    "at": row.at,
                    **row.columns,
                    "hash": bytes.fromhex(link.digest),
                    "line": line[:-1],
                }
            )
        moved = connection.execute(
            _MOVE_HEAD,
            {
                "writer": identifier,
                "old_seq": before.seq,
                "old_hash": bytes.fromhex(before.digest),
                "new_seq": link.seq,
                "new_hash": bytes.fromhex(link.digest),
            },
        )
        if moved.rowcount != 1:
            self._find_head(connection)
            raise AuditError(f"{self._database.where}: the chain {self.name} was moved by another process")
        connection.execute(_INSERT, values)
        return link, identifier

    def _register(self, connection: Connection) -> int:
        # A first transaction of unknown outcome may have registered this name already; its rows are not used.
        if self._doubtful is not None:
            self.name, self._doubtful = new_name(), None
        result = connection.execute(
            insert(writers).values(
                name=self.name,
                opened=datetime.now(UTC),
                start_seq=0,
                start_hash=_START,
                head_seq=0,
                head_hash=_START,
                sealed_seq=0,
            )
        )
        [identifier] = result.inserted_primary_key or [0]
        return int(identifier)

    def _find_head(self, connection: Connection) -> None:
        """Read where the chain is, and wait for a transaction of ours that has not ended; raises LostRowsError."""
        found = connection.execute(_READ_HEAD.with_for_update(), {"writer": self._id}).one_or_none()
        head = Link(found.head_seq, found.head_hash.hex()) if found else BEGINNING
        if head not in {self.link, self._doubtful}:
            self._lost = (
                f"{self._database.where}: the chain {self.name} ends with {head}, and this process has left it at "
                f"{self.link}: rows were removed, or the database is an older copy. No token leaves from this process "
                "until the server is restarted: find out why first, and copy the database"
            )
            log.critical("%s", self._lost)
            raise LostRowsError(self._lost)
        self.link = head

    def _connected(self) -> Connection:
        """Return a connection: the one that was used a moment ago, or one that was tried out."""
        if self._connection is not None and (
            self._connection.invalidated or monotonic() - self._used_at > _IDLE_SECONDS
        ):
            self._disconnect(broken=False)
        if self._connection is None:
            self._connection = self._database.engine.connect()
        self._used_at = monotonic()
        return self._connection

    def _disconnect(self, *, broken: bool = True) -> None:
        """Give the connection back, to be used again or not."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            if broken:
                connection.invalidate()
            connection.close()
        except SQLAlchemyError as error:
            log.debug("the connection could not be closed: %s", self._database.reason(error))

    def _told(self, error: SQLAlchemyError) -> str:
        return f"the audit database {self._database.where}: {self._database.reason(error)}"
