"""The database: an engine, and what differs between SQLite and PostgreSQL.

Nothing here, in an error or in a log shows a password: the URL is given to the driver alone, and SQLAlchemy's own
errors, which hold statements and values, are cut down to what the database said.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import Connection, Engine, QueuePool, Transaction, create_engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

if TYPE_CHECKING:
    from tsa_audit_sql.partitions import Partitions

_MAX_REASON = 300


class Database(ABC):
    """Opens connections. `where` names the database for people; `setting` is the one that says where it is."""

    where: str
    setting: ClassVar[str]
    partitions: Partitions | None = None
    """The months of `audit_record`, where each is a table of its own."""

    def __init__(self, dialect: str, *, seconds: float) -> None:
        self.seconds = seconds
        self.engine: Engine = create_engine(
            dialect,
            creator=self._connect,
            poolclass=QueuePool,
            pool_pre_ping=True,
            pool_size=2,
            max_overflow=2,
            pool_timeout=seconds,
            hide_parameters=True,
        )

    @abstractmethod
    def _connect(self) -> Any:
        """Return a connection of the driver."""

    @abstractmethod
    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Connect for reading; all that is read is of one moment."""

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for this process's turn to commit rows, where that is better than to try again and again."""
        yield

    @abstractmethod
    def lock_schema(self, connection: Connection) -> None:
        """Let no other process change tables until the transaction ends."""

    @abstractmethod
    def try_lock_seals(self, connection: Connection) -> bool:
        """Let no other process seal until the transaction ends; return False when one is at it."""

    @abstractmethod
    @contextmanager
    def try_lock_anchors(self) -> Iterator[bool]:
        """Let no other process anchor the trail meanwhile; False when one is at it. Raises ConfigError."""

    @abstractmethod
    def interrupt(self, connection: Connection) -> None:
        """Let what another thread does on this connection fail now."""

    @abstractmethod
    def take_your_time(self, connection: Connection) -> None:
        """Let statements of this transaction take as long as they need."""

    @abstractmethod
    def commit(self, transaction: Transaction) -> str:
        """Commit, and return what the database warned of meanwhile; empty for nothing."""

    @abstractmethod
    def why_not_writable(self) -> str:
        """Connect, and return why a server could not write here; empty when it could."""

    @abstractmethod
    def complaint(self) -> str:
        """Connect, and return why records stored here might not last; empty when they do."""

    def reason(self, error: BaseException) -> str:
        """Return what the database said, in one line, without secrets."""
        if isinstance(error, PoolTimeout):
            return "no connection is free: others have not returned theirs"
        cause = cause_of(error)
        if isinstance(error, SQLAlchemyError) and cause is error:
            return type(error).__name__
        lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
        return (lines or [type(cause).__name__])[0][:_MAX_REASON]

    def is_read_only(self, error: BaseException) -> bool:
        """Say whether the database refuses to write: a standby, a file without write access."""
        text = str(error).lower()
        return any(word in text for word in ("read-only", "readonly", "during recovery"))

    def close(self) -> None:
        """Close the connections that are not in use."""
        self.engine.dispose()

    def forget(self) -> None:
        """In a forked process: leave the connections to the parent."""
        self.engine.dispose(close=False)


def cause_of(error: BaseException) -> BaseException:
    """Return the driver's own error, which SQLAlchemy's holds; the error itself when it holds none."""
    return (error.orig if isinstance(error, DBAPIError) else None) or error
