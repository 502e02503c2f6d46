"""What `timestamp-server check` opens instead of the sink: reads, and changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError

from tsa_audit_sql.database import Database
from tsa_audit_sql.migrating import prepare, refuse_newer, revision_of, unreachable
from tsa_audit_sql.opening import open_database
from tsa_audit_sql.options import AuditSqlOptions
from tsa_audit_sql.schema import REVISION
from tsa_audit_sql.sink import key_of
from tsa_core.api import AuditError, AuditRecord, AuditSink, ConfigError, HealthStatus, ProfileSummary, why_not_writable


class AuditSqlTrial(AuditSink):
    """Tells whether records could be stored; stores none."""

    latency = "remote"
    keeps_events = True

    def __init__(self, options: AuditSqlOptions) -> None:
        self._options = options

    def bind(self, profiles: Sequence[ProfileSummary], timeout: timedelta) -> None:  # noqa: ARG002 - of no use here
        """Refuse what the sink refuses."""
        self._options.refuse_longer_than(timeout)

    def write(self, record: AuditRecord) -> None:
        """Refuse: a check issues no token."""
        raise AuditError(f"the audit database was opened for a check: {record.request_id}")

    def health(self) -> HealthStatus:
        """Say what a server would say that has just started."""
        return HealthStatus(healthy=True)


def try_sink(options: AuditSqlOptions) -> AuditSqlTrial:
    """Look whether a server could write; raises ConfigError when it could not, UnavailableError when it may later."""
    key_of(options)
    database = open_database(options)
    try:
        there = options.path is None or options.path.exists()
        if options.path is not None and (reason := why_not_writable(options.path.parent)):
            raise ConfigError(
                f"{reason}; make its directory and give the server's user write access", path=database.setting
            )
        if there:
            _look(database, migrate=options.migrate)
        elif not options.migrate:
            raise ConfigError(
                f"{database.where} is not there: run timestamp-server audit migrate, or set migrate = true",
                path=database.setting,
            )
    finally:
        database.close()
    return AuditSqlTrial(options)


def _look(database: Database, *, migrate: bool) -> None:
    try:
        with database.reading() as connection:
            found = revision_of(connection)
        reason = database.why_not_writable()
    except SQLAlchemyError as error:
        raise unreachable(database, error) from None
    refuse_newer(database, found)
    if found != REVISION and not migrate:
        prepare(database, migrate=False)
    if reason:
        raise ConfigError(f"{database.where}: {reason}", path=database.setting)
