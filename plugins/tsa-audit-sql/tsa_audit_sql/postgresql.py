"""PostgreSQL by psycopg 3: for several replicas."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection, Transaction, func, select, text

from tsa_audit_sql.database import Database, cause_of
from tsa_audit_sql.partitions import Partitions
from tsa_core.api import ConfigError

log = logging.getLogger(__name__)

_SCHEMES: Final = ("postgresql://", "postgres://")
_SCHEMA_LOCK: Final = 0x7473_6101
_SEAL_LOCK: Final = 0x7473_6102
_ANCHOR_LOCK: Final = 0x7473_6103
_READ_ONLY: Final = "25006"
_DURABLE: Final = (
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)


class PostgresqlDatabase(Database):
    """A server, or several of which one is the primary: libpq finds it, at each new connection.

    The server gives up what takes longer than the time limit, and so does the network; `interrupt` ends what both let
    hang.
    """

    setting: ClassVar[str] = "audit.auditsql.url"
    partitions: Partitions

    def __init__(self, url: str, *, seconds: float, writes: bool) -> None:
        self._parameters = _parse(url)
        self._password = str(self._parameters.get("password") or "")
        self.where = _where(self._parameters)
        milliseconds = max(100, int(seconds * 1000))
        options = (
            f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds} "
            f"-c idle_in_transaction_session_timeout={2 * milliseconds} -c TimeZone=UTC"
        )
        given = self._parameters.get("options")
        defaults: dict[str, Any] = {
            "application_name": "tsa-audit-sql",
            "connect_timeout": max(1, int(seconds)),
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": milliseconds,
            **({"target_session_attrs": "read-write"} if writes else {}),
        }
        self._parameters = {
            **defaults,
            **self._parameters,
            "options": f"{given} {options}" if given else options,
        }
        self._warned = threading.local()
        super().__init__("postgresql+psycopg://", seconds=seconds)
        self.partitions = Partitions(self.engine.begin, self.lock_schema)

    def _connect(self) -> Any:
        connection = psycopg.connect(**self._parameters)
        try:
            connection.autocommit = True
            connection.execute(_DURABLE)
            connection.autocommit = False
            connection.add_notice_handler(self._noticed)
        except BaseException:
            connection.close()
            raise
        return connection

    def _noticed(self, notice: psycopg.errors.Diagnostic) -> None:
        """Keep a warning: COMMIT succeeds with one when it has not waited for the synchronous standby."""
        if notice.severity_nonlocalized == "WARNING":
            self._warned.text = str(notice.message_primary)[:200]

    def commit(self, transaction: Transaction) -> str:
        """Commit, and return what the server warned of on the connections of this thread."""
        self._warned.text = ""
        transaction.commit()
        return str(self._warned.text)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Connect for reading; all that is read is of one moment, for as long as it takes."""
        # Not by SQLAlchemy's options: those leave an isolation level and READ WRITE behind on the pooled connection.
        with self.engine.connect() as connection, connection.begin():
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            self.take_your_time(connection)
            yield connection

    def take_your_time(self, connection: Connection) -> None:
        """Let statements of this transaction, and the pauses between them, take as long as they need."""
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))

    def lock_schema(self, connection: Connection) -> None:
        """Take an advisory lock, which ends with the transaction."""
        connection.execute(select(func.pg_advisory_xact_lock(_SCHEMA_LOCK)))

    def try_lock_seals(self, connection: Connection) -> bool:
        """Take an advisory lock, which ends with the transaction."""
        return bool(connection.execute(select(func.pg_try_advisory_xact_lock(_SEAL_LOCK))).scalar_one())

    @contextmanager
    def try_lock_anchors(self) -> Iterator[bool]:
        """Take an advisory lock, which ends with the connection at the latest."""
        with self.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            mine = bool(connection.execute(select(func.pg_try_advisory_lock(_ANCHOR_LOCK))).scalar_one())
            try:
                yield mine
            finally:
                if mine:
                    connection.execute(select(func.pg_advisory_unlock(_ANCHOR_LOCK)))

    def interrupt(self, connection: Connection) -> None:
        """Shut the socket down: libpq waits for nothing else."""
        driver = connection.connection.driver_connection
        if isinstance(driver, psycopg.Connection) and not driver.closed:
            with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(driver.fileno())) as duplicate:
                duplicate.shutdown(socket.SHUT_RDWR)

    def why_not_writable(self) -> str:
        """Return why a server could not write here: each month needs a new table."""
        with self.reading() as connection:
            may = connection.execute(text("SELECT has_schema_privilege(current_schema(), 'CREATE')")).scalar()
        return "" if may else "the user may not make tables here: GRANT CREATE ON SCHEMA"

    def complaint(self) -> str:
        """Say that the server does not wait for its disk."""
        with self.reading() as connection:
            fsync = connection.execute(text("SELECT current_setting('fsync')")).scalar_one()
        if fsync == "off":
            return "the server runs with fsync = off: a power failure takes records of tokens that have left"
        return ""

    def forget(self) -> None:
        """In a forked process: leave the connections to the parent, and its locks."""
        super().forget()
        self.partitions = Partitions(self.engine.begin, self.lock_schema)

    def reason(self, error: BaseException) -> str:
        """Return what the server said, without the password, and what a read-only one means."""
        said, cause = super().reason(error), cause_of(error)
        if self._password and self._password in said:
            return f"{type(cause).__name__}, with a text that holds the password"
        if self.is_read_only(cause):
            return f"{said} (this host is a standby, or was made read-only; the primary is needed)"
        return said

    def is_read_only(self, error: BaseException) -> bool:
        """Say whether the server refuses to write."""
        return getattr(error, "sqlstate", None) == _READ_ONLY or super().is_read_only(error)


def _parse(url: str) -> dict[str, Any]:
    """Return what libpq understands; never quotes the URL, which may hold a password."""
    if not url.startswith(_SCHEMES):
        raise ConfigError(
            "write postgresql://USER:PASSWORD@HOST:PORT/DATABASE; for SQLite give `path`", path="audit.auditsql.url"
        )
    try:
        return dict(conninfo_to_dict(url))
    except psycopg.Error:
        raise ConfigError(
            "libpq cannot read this URL; percent-encode what is special in user and password, and see "
            '"Connection URIs" in PostgreSQL\'s manual',
            path="audit.auditsql.url",
        ) from None


def _where(parameters: dict[str, Any]) -> str:
    hosts = str(parameters.get("host") or parameters.get("hostaddr") or "the local socket")
    port = f":{parameters['port']}" if parameters.get("port") else ""
    return f"{hosts}{port}/{parameters.get('dbname') or parameters.get('user') or ''}"
