"""Registers the response processor that keeps tokens, and the command that finds them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tsa_core.api import Command, Provider, ResponseProcessor, hookimpl
from tsa_response_archive.options import ArchiveOptions

if TYPE_CHECKING:
    import click


def _open(options: ArchiveOptions) -> ResponseProcessor:
    from tsa_response_archive.processor import open_archive

    return open_archive(options)


def _open_for_check(options: ArchiveOptions) -> ResponseProcessor:
    from tsa_response_archive.processor import try_archive

    return try_archive(options)


def _load_command() -> click.Command:
    from tsa_response_archive.command import archive

    return archive


@hookimpl
def tsa_response_processors() -> Iterable[Provider[ResponseProcessor]]:
    """Register the processor."""
    yield Provider(
        name="archive",
        summary="Keeps every token in a directory",
        options=ArchiveOptions,
        open=_open,
        open_for_check=_open_for_check,
    )


@hookimpl
def tsa_commands() -> Iterable[Command]:
    """Register `timestamp-server archive`."""
    yield Command(name="archive", summary="Find archived tokens", load=_load_command)
