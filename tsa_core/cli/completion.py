"""The command `completion`: scripts with which a shell completes a program's commands and flags."""

from __future__ import annotations

from typing import Any, Final

import click
from click.shell_completion import FishComplete, ShellComplete, ZshComplete, add_completion_class, get_completion_class

from tsa_core.cli.powershell import PLAIN, PlainPowerShellComplete, PowerShellComplete

SHELLS: Final = ("bash", "fish", "powershell", "zsh")


class _PlainZsh(ZshComplete):
    name = f"zsh{PLAIN}"
    source_template = ZshComplete.source_template.replace("=zsh_complete", f"={name}_complete")

    def format_completion(self, item: Any) -> str:
        return f"{item.type}\n{item.value}\n_"


class _PlainFish(FishComplete):
    name = f"fish{PLAIN}"
    source_template = FishComplete.source_template.replace("=fish_complete", f"={name}_complete")

    def format_completion(self, item: Any) -> str:
        return f"{item.type},{item.value}"


for _class in (_PlainZsh, _PlainFish, PowerShellComplete, PlainPowerShellComplete):
    add_completion_class(_class)


class _NamesTheProgram(click.Command):
    """Writes the program's name for each @ in its help."""

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        text, self.help = self.help, (self.help or "").replace("@", str(ctx.find_root().info_name))
        super().format_help_text(ctx, formatter)
        self.help = text


@click.command(cls=_NamesTheProgram)
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
      @ completion powershell >> $PROFILE
    """  # noqa: D301 - the backslash is click's mark
    found = get_completion_class(shell + PLAIN if no_descriptions else shell) or get_completion_class(shell)
    assert found is not None  # noqa: S101 - SHELLS are click's
    root = ctx.find_root()
    click.echo(_script(found, root.command, str(root.info_name)))


def _script(shell: type[ShellComplete], root: click.Command, program: str) -> str:
    """Return the script. The program itself answers it, when the variable in the script is set."""
    instance = shell(root, {}, program, f"_{program}_COMPLETE".replace("-", "_").upper())
    return shell.source_template % instance.source_vars()
