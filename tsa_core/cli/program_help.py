"""The commands `help` and `version` of every program."""

from __future__ import annotations

import click

from tsa_core.cli.versions import print_versions


@click.command("help")
@click.argument("command", nargs=-1)
@click.pass_context
def show_help(ctx: click.Context, command: tuple[str, ...]) -> None:
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


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def version(as_json: bool) -> None:
    """Print the versions of tsa-core, Python and the cryptographic library."""
    print_versions(as_json=as_json)
