"""Makes `tsa_core/cli/help_pages.json`, which `plain_help` shows: `python -m tests.cli.help_pages --write`."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click

from tsa_core.cli import server_group
from tsa_core.cli.plain_help import PLUGINS
from tsa_core.cli.server_group import server
from tsa_core.cli.timestamp.group import cli

PAGES = {
    "timestamp-server": (server, ""),
    "timestamp-server-serve": (server, "serve"),
    "timestamp-server-check": (server, "check"),
    "timestamp-cli": (cli, ""),
    "timestamp-cli-timestamp": (cli, "timestamp"),
    "timestamp-cli-verify": (cli, "verify"),
    "timestamp-cli-inspect": (cli, "inspect"),
}
MARK = "the commands of plugins stand here"


class Recorder(click.HelpFormatter):
    """Notes what it is told instead of breaking lines."""

    def __init__(self) -> None:
        super().__init__(width=80)
        self.operations: list[list[str]] = []

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        assert prefix is None
        self.operations.append(["usage", prog, args])

    def write_heading(self, heading: str) -> None:
        self.operations.append(["heading", heading])

    def write_paragraph(self) -> None:
        self.operations.append(["paragraph"])

    def indent(self) -> None:
        self.operations.append(["indent"])

    def dedent(self) -> None:
        self.operations.append(["dedent"])

    def write_text(self, text: str) -> None:
        self.operations.append(["text", text])

    def write_dl(self, rows: Any, *arguments: Any, **named: Any) -> None:
        assert not arguments
        assert not named
        found = list(rows)
        self.operations.append(["dl", *(cell for row in found for cell in row)] if found[0][0] != MARK else PLUGINS)


def context(name: str) -> click.Context:
    """Return click's context of a page's command."""
    group, command = PAGES[name]
    program = name.removesuffix(f"-{command}") if command else name
    outer = _unused(group).make_context(program, [], resilient_parsing=True)
    if not command:
        return outer
    found = group.get_command(outer, command)
    assert found is not None
    return _unused(found).make_context(command, [], parent=outer, resilient_parsing=True)


def _unused(command: click.Command) -> click.Command:
    """Return a copy that does not know the option for help which click made for another context, in another test."""
    copied = copy.copy(command)
    copied._help_option = None
    return copied


def page(name: str) -> list[list[str]]:
    """Return what click's formatter is told for a page."""
    recorder, ctx = Recorder(), context(name)
    names = {"tsa_core.commands": {MARK: ""}, "tsa_core.plugins": {"memory": ""}}
    with patch.object(server_group, "_in_metadata", lambda _ctx: names):
        ctx.command.format_help(ctx, recorder)
    operations = recorder.operations
    if PLUGINS in operations:  # what stands around the rows comes and goes with them
        place = operations.index(PLUGINS)
        operations[place - 3 : place + 2] = [PLUGINS]
    return operations


if __name__ == "__main__" and "--write" in sys.argv:
    place = Path(server_group.__file__).with_name("help_pages.json")
    place.write_text(json.dumps({name: page(name) for name in PAGES}, indent=1) + "\n", encoding="ascii")
