"""timestamp-cli config show: every setting of every command, its value, and where that comes from."""

from __future__ import annotations

import os
from typing import Any, Final

import click

from tsa_core.cli import console
from tsa_core.cli.program_group import all_commands
from tsa_core.cli.timestamp.flags import Call
from tsa_core.cli.timestamp.shown import shown_url

_SECRET: Final = frozenset({"header"})
"""Settings that may hold a secret, and are not shown."""


def show_config(call: Call) -> None:
    """Show every setting that is not its default, and where it comes from: a variable or the configuration file.

    A flag wins over a variable (TIMESTAMP_ and its name), that over the file of --config, that over
    ~/.config/timestamp-cli.toml ($XDG_CONFIG_HOME), which is read unasked. Unknown settings are errors.
    """
    ctx = click.get_current_context()
    root = ctx.find_root()
    path = call.common("config") or root.params.get("config")
    origin = f"file {path}" if path is not None else "file"
    assert isinstance(root.command, click.Group)  # noqa: S101 - the program is one
    found = [*_settings("", root.command, dict(root.default_map or {}), origin)]
    for name, command in sorted(all_commands(root.command).items()):
        defaults = (root.default_map or {}).get(name) or {}
        found += [row for row in _settings_below(name, command, defaults, origin) if row[1:] not in _common(found)]
    for table, entries in call.tables.items():
        for name, entry in entries.items():
            found += [(f"{table}.{name}", key, _shown(key, value), origin) for key, value in entry.items()]
    if call.as_json:
        names = ("Command", "Setting", "Value", "Origin")
        settings = [dict(zip(names, row, strict=True)) for row in found]
        console.print_json({"File": str(path) if path is not None else None, "Settings": settings})
        return
    if not found:
        console.echo("every setting is its default: no variable, and no configuration file")
        return
    rows = [(f"{command}.{key}" if command else key, _text(value), origin) for command, key, value, origin in found]
    console.print_table(("Setting", "Value", "Origin"), rows, fixed=1)


def _settings_below(name: str, command: click.Command, defaults: Any, origin: str) -> list[tuple[str, str, Any, str]]:
    """Return the settings of a command, or those of each of its commands."""
    if not isinstance(command, click.Group):
        return _settings(name, command, defaults, origin)
    return [
        row
        for inner_name, inner in command.commands.items()
        for row in _settings_below(f"{name} {inner_name}", inner, defaults.get(inner_name) or {}, origin)
    ]


def _settings(name: str, command: click.Command, defaults: Any, origin: str) -> list[tuple[str, str, Any, str]]:
    """Return command, setting, value and origin of what is not a default."""
    rows = []
    for option in command.params:
        if not isinstance(option, click.Option) or option.name is None:
            continue
        key = option.opts[0].lstrip("-")
        variable = option.envvar if isinstance(option.envvar, str) else None
        if variable is not None and os.environ.get(variable):
            rows.append((name, key, _shown(option.name, os.environ[variable]), f"variable {variable}"))
        elif isinstance(defaults, dict) and option.name in defaults:
            rows.append((name, key, _shown(option.name, defaults[option.name]), origin))
    return rows


def _common(rows: list[tuple[str, str, Any, str]]) -> list[tuple[str, Any, str]]:
    """Return what the program itself has, which each of its commands has too."""
    return [row[1:] for row in rows if not row[0]]


def _shown(name: str, value: Any) -> Any:
    if name in _SECRET:
        return "(not shown)"
    if isinstance(value, list | tuple):
        return [shown_url(each) if isinstance(each, str) else each for each in value]
    if name == "timestamp_server":
        return [shown_url(each) for each in str(value).split()]
    return value if isinstance(value, bool | int | float) else shown_url(str(value))


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
