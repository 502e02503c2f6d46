"""What the programs with subcommands share: `help`, `completion`, `--version`, and flags that stand anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click
from click.shell_completion import FishComplete, ShellComplete, ZshComplete, add_completion_class, get_completion_class

from tsa_core import __version__
from tsa_core.cli.boolean_flag import BooleanFlag

SHELLS: Final = ("bash", "fish", "zsh")
_PLAIN: Final = "-plain"
"""At the end of a shell's name: without descriptions."""


def add_program_commands(group: click.Group, program: str) -> None:
    """Add the commands `help` and `completion` and the flag `--version` to a program."""
    group.add_command(_help())
    group.add_command(_completion(program))
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


def _help() -> click.Command:
    @click.command("help")
    @click.argument("command", nargs=-1)
    @click.pass_context
    def show(ctx: click.Context, command: tuple[str, ...]) -> None:
        """Show the help of the program or of a command."""
        assert ctx.parent is not None  # noqa: S101 - it is a command of a group
        shown = ctx.parent
        for name in command:
            group = shown.command
            found = group.get_command(shown, name) if isinstance(group, click.Group) else None
            if found is None:
                raise click.UsageError(f"there is no command {' '.join(command)!r}", ctx=ctx.parent)
            shown = click.Context(found, info_name=name, parent=shown)
        click.echo(shown.get_help())

    return show


class _PlainZsh(ZshComplete):
    name = f"zsh{_PLAIN}"
    source_template = ZshComplete.source_template.replace("=zsh_complete", f"={name}_complete")

    def format_completion(self, item: Any) -> str:
        return f"{item.type}\n{item.value}\n_"


class _PlainFish(FishComplete):
    name = f"fish{_PLAIN}"
    source_template = FishComplete.source_template.replace("=fish_complete", f"={name}_complete")

    def format_completion(self, item: Any) -> str:
        return f"{item.type},{item.value}"


for _class in (_PlainZsh, _PlainFish):
    add_completion_class(_class)


def _completion(program: str) -> click.Command:
    @click.command("completion")
    @click.argument("shell", type=click.Choice(SHELLS))
    @click.option("--no-descriptions", is_flag=True, help="Complete without descriptions; bash shows none anyway.")
    @click.pass_context
    def completion(ctx: click.Context, shell: str, no_descriptions: bool) -> None:
        """Print a script that lets a shell complete this program's commands and flags.

        \b
        Examples:
          source <(@ completion bash)
          @ completion zsh > "${fpath[1]}/_@"
          @ completion fish > ~/.config/fish/completions/@.fish
        """  # noqa: D301 - the backslash is click's mark
        found = get_completion_class(shell + _PLAIN if no_descriptions else shell) or get_completion_class(shell)
        assert found is not None  # noqa: S101 - SHELLS are click's
        root = ctx.find_root().command
        click.echo(_script(found, root, program))

    completion.help = (completion.help or "").replace("@", program)
    return completion


def _script(shell: type[ShellComplete], root: click.Command, program: str) -> str:
    """Return the script. The program itself answers it, when the variable in the script is set."""
    variable = f"_{program}_COMPLETE".replace("-", "_").upper()
    instance = shell(root, {}, program, variable)
    return shell.source_template % instance.source_vars()
