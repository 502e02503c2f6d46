"""timestamp-server config: what a server's settings are, and where each came from."""

from __future__ import annotations

from typing import Any

import click

from tsa_core.cli import console
from tsa_core.cli.flag_groups import GroupedCommand
from tsa_core.cli.program_group import HelpfulGroup
from tsa_core.cli.reference_settings import load
from tsa_core.cli.settings_flags import flag_groups, settings_options


@click.group(cls=HelpfulGroup)
def config() -> None:
    """Show the settings that a server would have."""


@config.command(cls=GroupedCommand, groups=flag_groups())
@settings_options
@click.option("--origin", is_flag=True, help="Say where each value came from: flag, variable, file and line, default.")
@click.option("--changed", is_flag=True, help="Only settings that are not left to their default.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the origins.")
def show(origin: bool, changed: bool, as_json: bool, **parameters: Any) -> None:
    """Print every setting that a server with these flags, variables and file would have; no secret is shown.

    Settings of the plugins that are selected are among them, as TOML writes them. Nothing is opened.

    \b
    Examples:
      timestamp-server config show --origin --changed --config tsa.toml
      timestamp-server config show --json | jq -r '.[] | select(.setting == "server.port").origin'
    """  # noqa: D301 - the backslash is click's mark
    from tsa_core.cli.setting_origins import DEFAULT, effective_settings

    loaded = load(parameters)
    for note in loaded.notes:
        console.tell(note)
    rows = [row for row in effective_settings(loaded) if not changed or row.origin != DEFAULT]
    if as_json:
        console.print_json([{"setting": row.path, "value": row.value, "origin": row.origin} for row in rows])
    elif origin:
        console.print_table(("SETTING", "VALUE", "ORIGIN"), [(row.path, row.value, row.origin) for row in rows])
    else:
        console.print_table(("SETTING", "VALUE"), [(row.path, row.value) for row in rows])
