"""Registers the audit sink that writes files, and the command that reads and checks them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tsa_audit_file.options import AuditFileOptions
from tsa_core.api import AuditSink, Command, Provider, hookimpl

if TYPE_CHECKING:
    import click


def _open(options: AuditFileOptions) -> AuditSink:
    from tsa_audit_file.sink import open_sink

    return open_sink(options)


def _open_for_check(options: AuditFileOptions) -> AuditSink:
    from tsa_audit_file.sink import key_of
    from tsa_audit_file.trial import try_sink

    return try_sink(options, key_of(options))


def _load_command() -> click.Command:
    from tsa_audit_file.command import audit

    return audit


@hookimpl
def tsa_audit_sinks() -> Iterable[Provider[AuditSink]]:
    """Register the sink."""
    yield Provider(
        name="auditfile",
        summary="Hash-chained JSON Lines in a file",
        options=AuditFileOptions,
        open=_open,
        open_for_check=_open_for_check,
    )


@hookimpl
def tsa_commands() -> Iterable[Command]:
    """Register `timestamp-server audit`."""
    yield Command(name="audit", summary="Show and check the files of the audit trail", load=_load_command)
