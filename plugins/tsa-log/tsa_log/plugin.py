"""Registers the sink that logs tokens, the routes that serve the log and a witness, and their commands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tsa_core.api import AuditSink, Command, Provider, Routes, hookimpl
from tsa_log.options import LogOptions, LogRoutesOptions, WitnessRoutesOptions

if TYPE_CHECKING:
    import click


def _open(options: LogOptions) -> AuditSink:
    from tsa_log.sink import open_sink

    return open_sink(options)


def _open_for_check(options: LogOptions) -> AuditSink:
    from tsa_log.trial import try_sink

    return try_sink(options)


def _open_routes(options: LogRoutesOptions) -> Routes:
    from tsa_log.routes import LogRoutes

    return LogRoutes(options)


def _open_witness(options: WitnessRoutesOptions) -> Routes:
    from tsa_log.witness_routes import open_witness

    return open_witness(options)


def _load_log() -> click.Command:
    from tsa_log.command import log

    return log


def _load_witness() -> click.Command:
    from tsa_log.command import witness

    return witness


@hookimpl
def tsa_audit_sinks() -> Iterable[Provider[AuditSink]]:
    """Register the sink."""
    yield Provider(
        name="tokenlog",
        summary="A public, witnessed log of every token (C2SP tiles)",
        options=LogOptions,
        open=_open,
        open_for_check=_open_for_check,
    )


@hookimpl
def tsa_routes() -> Iterable[Provider[Routes]]:
    """Register the log's files, and the witness."""
    yield Provider(name="log", summary="The files of the log of tokens", options=LogRoutesOptions, open=_open_routes)
    yield Provider(
        name="witness",
        summary="Cosigns the checkpoints of other logs (C2SP tlog-witness)",
        options=WitnessRoutesOptions,
        open=_open_witness,
    )


@hookimpl
def tsa_commands() -> Iterable[Command]:
    """Register the commands."""
    yield Command(name="log", summary="Keys and state of the log of tokens", load=_load_log)
    yield Command(name="witness", summary="Keys of a witness for other logs", load=_load_witness)
