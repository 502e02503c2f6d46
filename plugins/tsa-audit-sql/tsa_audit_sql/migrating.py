"""Brings the tables up to date; several processes that start together take turns."""

from __future__ import annotations

import logging

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from tsa_audit_sql.database import Database
from tsa_audit_sql.schema import REVISION, VERSION_TABLE
from tsa_audit_sql.sqlite import SqliteDatabase
from tsa_core.api import ConfigError, UnavailableError

log = logging.getLogger(__name__)


def revision_of(connection: Connection) -> str:
    """Return the revision of the tables, empty when there are none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return ""
    found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - our own name
    return str(found or "")


def prepare(database: Database, *, migrate: bool) -> str:
    """See to it that the tables are those that this code knows; return what was done, empty for nothing.

    With `migrate` they are made or changed, in one transaction under a lock. Raises ConfigError, UnavailableError when
    the server cannot be reached now.
    """
    try:
        if isinstance(database, SqliteDatabase) and migrate:
            database.make()
        with database.reading() as connection:
            found = revision_of(connection)
        if found == REVISION:
            return ""
        refuse_newer(database, found)
        if not migrate:
            state = f"its tables have revision {found}" if found else "it has no tables of tsa-audit-sql"
            raise ConfigError(
                f"{database.where}: {state}, and {REVISION} is needed: run timestamp-server audit migrate, "
                "or set migrate = true",
                path=database.setting,
            )
        return _upgrade(database)
    except OSError as error:
        raise ConfigError(
            f"{database.where}: {error.strerror or error}; make its directory and give the server's user write access",
            path=database.setting,
        ) from None
    except SQLAlchemyError as error:
        raise unreachable(database, error) from None


def unreachable(database: Database, error: SQLAlchemyError) -> ConfigError:
    """Return what to raise at the start for an error of the database; a server may be there later."""
    text = f"{database.where}: {database.reason(error)}"
    if isinstance(database, SqliteDatabase):
        hint = "make its directory and give the server's user write access"
        return ConfigError(f"{text}; {hint}", path=database.setting)
    return UnavailableError(text, path=database.setting)


def refuse_newer(database: Database, found: str) -> None:
    """Raise ConfigError for tables that only a newer version knows."""
    if found > REVISION:
        raise ConfigError(
            f"{database.where}: its tables have revision {found}, which a newer tsa-audit-sql made; this one knows "
            f"{REVISION}: install that version again",
            path=database.setting,
        )


def _upgrade(database: Database) -> str:
    from alembic import command
    from alembic.config import Config

    logging.getLogger("alembic").setLevel(logging.WARNING)  # what it has to say is said below
    config = Config()
    config.set_main_option("script_location", "tsa_audit_sql:migrations")
    with database.engine.begin() as connection:
        database.lock_schema(connection)
        before = revision_of(connection)
        refuse_newer(database, before)
        if before == REVISION:
            return ""  # another process was faster
        config.attributes["connection"] = connection
        command.upgrade(config, REVISION)
    done = f"the tables of {database.where} are at revision {REVISION} now, and were {before or 'not there'}"
    log.info("%s", done)
    return done
