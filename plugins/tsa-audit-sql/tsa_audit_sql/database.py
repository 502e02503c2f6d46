"""The database: an engine, and what differs between SQLite and PostgreSQL.

Nothing here, in an error or in a log shows a password: the URL is given to the driver alone, and SQLAlchemy's own
errors, which hold statements and values, are cut down to what the database said.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import Connection, Engine, QueuePool, create_engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

_MAX_REASON = 300


class Database(ABC):
    """Opens connections. `where` names the database for people; `setting` is the one that says where it is."""

    where: str
    setting: ClassVar[str]

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
    def make_room(self, months: Collection[datetime]) -> None:
        """Make what records of these months need; called before each commit, and cheap when there is nothing to do."""

    def whole_months(self, before: datetime) -> datetime | None:  # noqa: ARG002 - for a database with partitions
        """Return up to when rows before a time can be removed by whole months; None when they cannot."""
        return None

    def remove_months(self, connection: Connection, before: datetime, cuts: Mapping[int, int]) -> None:
        """Remove the months before the beginning of one, but for rows behind those that `cuts` names by writer."""
        raise NotImplementedError

    def take_your_time(self, connection: Connection) -> None:  # noqa: B027 - SQLite knows no limit
        """Let statements of this transaction take as long as they need."""

    def begin_commit(self) -> None:  # noqa: B027 - SQLite warns of nothing
        """Forget what the database warned of before."""

    def warning(self) -> str:
        """Return what the database warned of since then, in this thread; empty for nothing."""
        return ""

    @abstractmethod
    def why_not_writable(self, connection: Connection, *, tables: bool) -> str:
        """Return why a server could not write here, empty when it could. `tables` says whether they are there."""

    def look_again(self) -> None:  # noqa: B027 - SQLite's one table is always there
        """After a failure: forget which partitions are there."""

    def complaint(self, connection: Connection) -> str:  # noqa: ARG002 - what a database may look at
        """Return why records stored here might not last, empty when they do."""
        return ""

    def reason(self, error: BaseException) -> str:
        """Return what the database said, in one line, without secrets."""
        if isinstance(error, PoolTimeout):
            return "no connection is free: others have not returned theirs"
        cause = (error.orig if isinstance(error, DBAPIError) else None) or error
        if isinstance(error, SQLAlchemyError) and cause is error:
            return type(error).__name__
        lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
        text = (lines or [type(cause).__name__])[0][:_MAX_REASON]
        return self._explain(cause, text)

    def _explain(self, cause: BaseException, text: str) -> str:  # noqa: ARG002 - for the subclasses
        return text

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
