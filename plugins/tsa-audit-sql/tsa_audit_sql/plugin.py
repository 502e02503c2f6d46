"""Registers the audit sink that writes to a database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tsa_audit_sql.options import AuditSqlOptions
from tsa_core.api import AuditSink, Provider, hookimpl

if TYPE_CHECKING:
    from tsa_core.api.trail import Trail


def _open(options: AuditSqlOptions) -> AuditSink:
    from tsa_audit_sql.sink import open_sink

    return open_sink(options)


def _open_for_check(options: AuditSqlOptions) -> AuditSink:
    from tsa_audit_sql.trial import try_sink

    return try_sink(options)


def _open_trail(options: AuditSqlOptions) -> Trail:
    from tsa_audit_sql.trail import open_trail

    return open_trail(options)


@hookimpl
def tsa_audit_sinks() -> Iterable[Provider[AuditSink]]:
    """Register the sink."""
    yield Provider(
        name="auditsql",
        summary="Hash-chained and sealed rows in SQLite or PostgreSQL",
        options=AuditSqlOptions,
        open=_open,
        open_for_check=_open_for_check,
        open_trail=_open_trail,
    )
