"""Registers the audit sink that writes files, and the trail that they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tsa_audit_file.options import AuditFileOptions
from tsa_core.api import AuditSink, Provider, hookimpl

if TYPE_CHECKING:
    from tsa_core.api.trail import Trail


def _open(options: AuditFileOptions) -> AuditSink:
    from tsa_audit_file.sink import open_sink

    return open_sink(options)


def _open_for_check(options: AuditFileOptions) -> AuditSink:
    from tsa_audit_file.sink import key_of
    from tsa_audit_file.trial import try_sink

    return try_sink(options, key_of(options))


def _open_trail(options: AuditFileOptions) -> Trail:
    from tsa_audit_file.sink import key_of
    from tsa_audit_file.trail import trail_at

    return trail_at(options.path, key_of(options))


def _trail_of_files(files: Sequence[Path], key: bytes | None) -> Trail:
    from tsa_audit_file.trail import trail_of_files

    return trail_of_files(files, key)


@hookimpl
def tsa_audit_sinks() -> Iterable[Provider[AuditSink]]:
    """Register the sink."""
    yield Provider(
        name="auditfile",
        summary="Hash-chained JSON Lines in a file",
        options=AuditFileOptions,
        open=_open,
        open_for_check=_open_for_check,
        open_trail=_open_trail,
        trail_of_files=_trail_of_files,
    )
