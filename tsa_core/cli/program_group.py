"""What the programs with subcommands share: commands that are imported when they are asked for, and `--version`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Final, NamedTuple

import click

from tsa_core import __version__
from tsa_core.cli.boolean_flag import BooleanFlag
from tsa_core.cli.strict_flags import read_strictly

SHARED: Final = "Other"
"""The group of the help in which `help`, `completion` and `version` stand."""


class LazyCommand(NamedTuple):
    """A command that is not imported yet: `module:name`, its line in the program's help, and the group there."""

    place: str
    summary: str
    group: str = "Commands"


def shared_commands(version: str = "tsa_core.cli.program_help:version") -> dict[str, LazyCommand]:
    """Return the commands that every program has; `version` is where its own is, `module:name`."""
    return {
        "help": LazyCommand(
            "tsa_core.cli.program_help:show_help", "Show the help of the program or of a command.", SHARED
        ),
        "completion": LazyCommand(
            "tsa_core.cli.completion:completion",
            "Print a script that lets a shell complete this program's commands and flags.",
            SHARED,
        ),
        "version": LazyCommand(
            version, "Print the versions of tsa-core, Python and the cryptographic library.", SHARED
        ),
    }


class HelpfulGroup(click.Group):
    """A group that shows its help, once, when it is called without any argument, and ends with 0."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; none are a question for help."""
        return super().parse_args(ctx, args or ["--help"])


class LazyGroup(HelpfulGroup):
    """A group that imports a command when somebody asks for it, so that no command pays for another's imports.

    Commands that are not in the table are the usual ones: the help has them first, below `usual`, as they were added.
    """

    def __init__(
        self, *arguments: Any, lazy: Mapping[str, LazyCommand], usual: str = "Commands", **attributes: Any
    ) -> None:
        super().__init__(*arguments, **attributes)
        self.lazy = dict(lazy)
        self._usual = usual

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted({*super().list_commands(ctx), *self.lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, which is imported for it."""
        if (found := super().get_command(ctx, cmd_name)) is not None or cmd_name not in self.lazy:
            return found
        module, _, name = self.lazy[cmd_name].place.partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)  # noqa: S101 - the table of a program is ours
        self.add_command(read_strictly(command), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """List the commands by group, in the order of the table; none is imported for it."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, usual in self.commands.items():
            if name not in self.lazy:
                summary = usual.get_short_help_str(limit=formatter.width)
                sections.setdefault(self._usual, []).append((name, summary))
        for name, command in self.lazy.items():
            sections.setdefault(command.group, []).append((name, command.summary))
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows)


def all_commands(group: click.Group) -> dict[str, click.Command]:
    """Return every command of a group by name; a lazy one is imported."""
    ctx = click.Context(group)
    found = {name: group.get_command(ctx, name) for name in group.list_commands(ctx)}
    return {name: command for name, command in found.items() if command is not None}


def add_version_flag(group: click.Group, program: str) -> None:
    """Add the flag `--version` to a program."""
    group.params.append(
        click.Option(
            # Not named `version`: a configuration file's table for the command of that name would be its default.
            ["--version", "print_version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=lambda ctx, _, given: _print_version(ctx, program) if given else None,
            help="Print the version and exit; the command version says more.",
        )
    )


def _print_version(ctx: click.Context, program: str) -> None:
    click.echo(f"{program} {__version__}")
    ctx.exit()


def long_flags(command: click.Command) -> dict[str, bool]:
    """Return the long names of a command's flags, and whether each takes a value."""
    return {
        name: not (parameter.is_flag or isinstance(parameter, BooleanFlag))
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for name in parameter.opts
        if name.startswith("--")
    }


def flags_after_the_command(arguments: Sequence[str], flags: Mapping[str, bool]) -> list[str]:
    """Return the arguments with the flags that stand before the command's name moved behind it.

    `flags` are those of `long_flags` that may stand there. Sigstore's server takes its flags in both places.
    What is not known, or stands without a command, stays as it is, for click to complain of.
    """
    moved: list[str] = []
    rest = list(arguments)
    while rest and rest[0].startswith("--"):
        name, separator, _ = rest[0].partition("=")
        if name not in flags:
            return list(arguments)
        length = 2 if flags[name] and not separator else 1
        moved, rest = [*moved, *rest[:length]], rest[length:]
    return [rest[0], *moved, *rest[1:]] if rest else list(arguments)
