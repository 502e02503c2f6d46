"""What every command of every program says of itself."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import click
import pytest

PROGRAMS = {
    "timestamp-server": "tsa_core.cli.server_group:server",
    "timestamp-cli": "tsa_core.cli.timestamp.group:cli",
    "certificate-maker": "tsa_core.cli.certificate_maker:certificate_maker",
    "fetch-tsa-certs": "tsa_core.cli.fetch_tsa_certs:fetch_tsa_certs",
}
CLICKS_MARK = "\\b"


def helps(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    """Yield the path and the help of a command, and of those below it."""
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from helps(below, click.Context(below, info_name=name, parent=context))


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_help_shows_a_mark_that_is_clicks(program: str) -> None:
    module, _, name = PROGRAMS[program].partition(":")
    command = getattr(importlib.import_module(module), name)
    found = dict(helps(command, click.Context(command, info_name=program)))
    assert [path for path, text in found.items() if "\b" in text or CLICKS_MARK in text] == []
    assert program in found
