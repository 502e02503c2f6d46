"""Registers the response processor that keeps tokens, and the command that finds them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import Field

from tsa_core.api import Command, ConfigPath, PluginOptions, Provider, ResponseProcessor, hookimpl

if TYPE_CHECKING:
    import click


class ArchiveOptions(PluginOptions):
    """`[response.archive]`."""

    directory: ConfigPath = Field(description="where the tokens are kept; made at start when it is missing")
    required: bool = Field(
        True, description="withhold a reply that could not be kept; false: log it and let the reply go"
    )
    sync: bool = Field(True, description="wait until the disk has it; false is faster and loses the last on a crash")


def _open(options: ArchiveOptions) -> ResponseProcessor:
    from tsa_response_archive.processor import open_archive

    return open_archive(options)


def _load_command() -> click.Command:
    from tsa_response_archive.command import archive

    return archive


@hookimpl
def tsa_response_processors() -> Iterable[Provider[ResponseProcessor]]:
    """Register the processor."""
    yield Provider(name="archive", summary="Keeps every token in a directory", options=ArchiveOptions, open=_open)


@hookimpl
def tsa_commands() -> Iterable[Command]:
    """Register `timestamp-server archive`."""
    yield Command(name="archive", summary="Find archived tokens", load=_load_command)
