"""The commands of `timestamp-server keys`: those of the core, and those of a plugin whose command has the same name.

Signing keys and clients' API keys are both keys. So the core's group takes in the commands of the plugin `keys`, where
one is installed (decision 265).
"""

from __future__ import annotations

from typing import Final

import click

from tsa_core.cli.plugin_commands import load_plugin_command
from tsa_core.cli.program_group import LazyCommand, LazyGroup, all_commands

NAME: Final = "keys"
_SIGNING: Final = "Signing keys"
_COMMANDS: Final = {
    "ceremony": LazyCommand(
        "tsa_core.cli.keys.ceremony:ceremony",
        "Make a key, or take one, under witnesses, and write a protocol that the key signs.",
        _SIGNING,
    ),
    "destroyed": LazyCommand(
        "tsa_core.cli.keys.destroyed:destroyed", "Write a protocol of the destruction of a key.", _SIGNING
    ),
}


class KeysGroup(LazyGroup):
    """The core's commands, then those of the plugin of that name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, those of the plugin among them."""
        added = self._added(ctx)
        return sorted({*super().list_commands(ctx), *(added.list_commands(ctx) if added else ())})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command of the core, else one of the plugin."""
        if (own := super().get_command(ctx, cmd_name)) is not None:
            return own
        if (added := self._added(ctx)) is not None:
            return added.get_command(ctx, cmd_name)
        from tsa_core.api.installation import hint_for

        if (hint := hint_for("command", NAME)) and not ctx.resilient_parsing:
            raise click.UsageError(
                f"no command {cmd_name!r:.40} is for signing keys; to add those for clients' API keys: {hint}",
                ctx,
            )
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands, the plugin's below the core's."""
        super().format_commands(ctx, formatter)
        if (added := self._added(ctx)) is not None:
            rows = [
                (name, command.get_short_help_str(limit=formatter.width))
                for name, command in all_commands(added).items()
                if name not in self.lazy
            ]
            with formatter.section("Clients' API keys"):
                formatter.write_dl(rows)

    def _added(self, ctx: click.Context) -> click.Group | None:
        found = load_plugin_command(ctx, NAME)
        return found if isinstance(found, click.Group) else None


@click.group(cls=KeysGroup, lazy=_COMMANDS)
def keys() -> None:
    """Make and destroy signing keys under witnesses; with tsa-guard, make and revoke clients' API keys."""
