"""The sink: what the core calls.

Permissions: SQLite: write access to the file's directory. PostgreSQL: a database of its own, or a schema, in which the
user may make tables. What leaves the machine, for PostgreSQL: who asked (address, request id, identity), when, which
serial number went out, and the digest; the token only when asked.
"""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Literal

from sqlalchemy.exc import SQLAlchemyError

from tsa_audit_sql.database import Database
from tsa_audit_sql.group_commit import GroupCommit
from tsa_audit_sql.migrating import prepare, unreachable
from tsa_audit_sql.opening import open_database
from tsa_audit_sql.options import AuditSqlOptions
from tsa_audit_sql.rows import Row, Rows, event_row, own_row
from tsa_audit_sql.upkeep import Upkeep
from tsa_audit_sql.writer import LostRowsError, Writer
from tsa_core.api import (
    AuditError,
    AuditEvent,
    AuditRecord,
    AuditSink,
    HealthStatus,
    ProfileSummary,
    RefusalRecord,
    UnavailableError,
)
from tsa_core.api.trail import chain_key

log = logging.getLogger(__name__)


class SqlAuditSink(AuditSink):
    """Writes rows by a group commit; a second thread seals them."""

    latency: Literal["local", "remote"] = "remote"
    keeps_events = True

    def __init__(self, database: Database, options: AuditSqlOptions, key: bytes | None) -> None:
        self._database = database
        self._options = options
        self._key = key
        self._rows = Rows(digests=options.digests, tokens=options.tokens)
        self._seconds = options.timeout.total_seconds()
        self._probe_interval = options.probe_interval.total_seconds()
        self.latency = "local" if options.path is not None else "remote"
        self.wants_refusals = options.refusals
        self._closed = False
        self._start_anew()
        _living.add(self)

    def _start_anew(self) -> None:
        """Begin a chain, without threads, at first and in a process that was forked from one that had them."""
        self._writer = Writer(self._database, self._key)
        self._commits = GroupCommit(self._writer.commit, self._writer.interrupt, seconds=self._seconds)
        self._upkeep = Upkeep(self._database, self._key, self._options.seal_interval)

    def after_fork(self) -> None:
        """In a new process: the parent's connections and threads must not be used here."""
        self._database.forget()
        self._start_anew()

    # -- what the core calls ------------------------------------------------------------------------------------

    def bind(self, profiles: Sequence[ProfileSummary], timeout: timedelta) -> None:  # noqa: ARG002 - of no use here
        """Refuse a `timeout` that the core's limit cuts short."""
        self._options.refuse_longer_than(timeout)

    def write(self, record: AuditRecord) -> None:
        """Store a token's record; raises AuditError when that fails, and the token must not leave."""
        self._store([self._rows.token(record)])

    def write_all(self, records: Sequence[AuditRecord]) -> None:
        """Store records in one transaction; raises AuditError when that fails, for all of them."""
        self._store([self._rows.token(record) for record in records])

    def write_refusals(self, records: Sequence[RefusalRecord]) -> None:
        """Store requests that got no token; raises AuditError when that fails."""
        self._store([self._rows.refusal(record) for record in records])

    def event(self, event: AuditEvent) -> None:
        """Store an event; raises AuditError when that fails."""
        self._store([event_row(event)])

    def begin(self) -> None:
        """Say that this process writes from now on, which also proves that it can; raises AuditError."""
        self._upkeep.make_months()
        self._store([])
        self._upkeep.keep_running()

    def health(self) -> HealthStatus:
        """Look whether the trail is as it was left, and store a probe when nothing else has been stored."""
        if self._closed:
            return HealthStatus(healthy=True)
        try:
            self._upkeep.keep_running()
            idle = monotonic() - self._commits.stored_at
            due = idle >= self._probe_interval
            # A list without rows only looks at the chain's head.
            self._store([own_row("probe", datetime.now(UTC), pid=os.getpid())] if due or self._commits.failed else [])
        except AuditError as error:
            if isinstance(error.__cause__, LostRowsError):
                return HealthStatus(healthy=False, reason="the audit trail is not as it was left; see the log")
            return HealthStatus(healthy=False, reason="the audit database cannot be written; see the log")
        return HealthStatus(healthy=True)

    def head(self) -> str | None:
        """Return the last row's number and hash, of this process's chain."""
        link = self._writer.link
        return str(link) if link.seq and not self._closed else None

    def close(self) -> None:
        """Say that this process writes no more, and seal what it wrote."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._writer.link.seq:
                self._commits.store([own_row("close", datetime.now(UTC), pid=os.getpid())])
        except AuditError as error:
            log.error("the audit trail could not be closed in order: %s", error)  # noqa: TRY400 - no traceback
        self._commits.close(self._seconds)
        self._upkeep.close(self._seconds)
        if not self._commits.failed:
            self._upkeep.seal()
        self._writer.close()
        self._database.close()

    def _store(self, rows: Sequence[Row]) -> None:
        if self._closed:
            raise AuditError("the audit database is closed")
        self._commits.store(rows)


_living: weakref.WeakSet[SqlAuditSink] = weakref.WeakSet()


def _after_fork() -> None:
    for sink in list(_living):
        sink.after_fork()


os.register_at_fork(after_in_child=_after_fork)


def open_sink(options: AuditSqlOptions) -> SqlAuditSink:
    """Return the sink; raises ConfigError, UnavailableError for a server that may answer later."""
    key = key_of(options)
    database = open_database(options)
    try:
        prepare(database, migrate=options.migrate)
        if complaint := database.complaint():
            log.warning("%s: %s", database.where, complaint)
        sink = SqlAuditSink(database, options, key)
        sink.begin()
    except SQLAlchemyError as error:
        database.close()
        raise unreachable(database, error) from None
    except AuditError as error:
        database.close()
        raise UnavailableError(str(error), path=database.setting) from None
    except BaseException:
        database.close()
        raise
    return sink


def key_of(options: AuditSqlOptions) -> bytes | None:
    """Return the key of the chain, if it has one; raises ConfigError for one that is too short."""
    return chain_key(options.key, "audit.auditsql.key")
