"""Runs the migrations on the connection that `tsa_audit_sql.migrating` gives, in its transaction."""

from __future__ import annotations

from alembic import context

from tsa_audit_sql.schema import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
context.run_migrations()
