"""Opens the database that the settings name."""

from __future__ import annotations

from tsa_audit_sql.database import Database
from tsa_audit_sql.options import AuditSqlOptions
from tsa_audit_sql.sqlite import SqliteDatabase
from tsa_core.api import ConfigError
from tsa_core.api.installation import install_hint


def open_database(options: AuditSqlOptions, *, writes: bool = True) -> Database:
    """Return the database that the settings name; connects nowhere. Raises ConfigError for a URL that is none.

    `writes` says whether a server that only reads, a standby, will not do.
    """
    if options.path is not None:
        return SqliteDatabase(options.path, seconds=options.timeout.total_seconds())
    try:
        from tsa_audit_sql.postgresql import PostgresqlDatabase
    except ImportError as error:
        raise ConfigError(
            f"PostgreSQL needs psycopg ({error}); {install_hint('tsa-audit-sql[postgresql]')}",
            path="audit.auditsql.url",
        ) from None
    assert options.url is not None  # noqa: S101 - the options have looked
    return PostgresqlDatabase(options.url.get_secret_value(), seconds=options.timeout.total_seconds(), writes=writes)
