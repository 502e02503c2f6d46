"""Registers the audit sink that writes files, and the command that reads and checks them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tsa_core.api import AuditSink, Command, ConfigPath, Duration, PluginOptions, Provider, Secret, hookimpl

if TYPE_CHECKING:
    import click


class AuditFileOptions(PluginOptions):
    """`[audit.auditfile]`."""

    path: ConfigPath = Field(description="the file that is written to; rotated ones get names of their own beside it")
    sync: Literal["always", "interval", "never"] = Field(
        "always",
        description="always: a token leaves when its record is on the disk; interval: the disk follows within "
        "sync_interval; never: when the system sees fit",
    )
    sync_interval: Duration = Field(
        timedelta(seconds=1), description='with sync = "interval", the most that a power failure can take'
    )
    digests: bool = Field(False, description="record the digest that was timestamped")
    tokens: bool = Field(False, description="record the whole reply, base64 of its DER; some 2 to 8 KB each")
    max_size: int = Field(268_435_456, ge=0, description="bytes after which a new file is begun; 0: no limit")
    daily: bool = Field(True, description="begin a new file every day (UTC)")
    key: Secret | None = Field(
        None,
        description="chain the lines by HMAC with this key, so that nobody without it can make them fit again",
    )


def _open(options: AuditFileOptions) -> AuditSink:
    from tsa_audit_file.sink import open_sink

    return open_sink(options)


def _load_command() -> click.Command:
    from tsa_audit_file.command import audit

    return audit


@hookimpl
def tsa_audit_sinks() -> Iterable[Provider[AuditSink]]:
    """Register the sink."""
    yield Provider(name="auditfile", summary="Hash-chained JSON Lines in a file", options=AuditFileOptions, open=_open)


@hookimpl
def tsa_commands() -> Iterable[Command]:
    """Register `timestamp-server audit`."""
    yield Command(name="audit", summary="Show and check the files of the audit trail", load=_load_command)
