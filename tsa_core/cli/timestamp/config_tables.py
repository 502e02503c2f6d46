"""The tables of a configuration file that name things: authorities, and whom to trust."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

_KEYS: Final = {
    "authorities": ({"url"}, {"url", "trust"}),
    "trusts": ({"roots"}, {"roots", "intermediates"}),
}
"""For each table: the keys that an entry must have, and those that it may have; all are text."""


def take_tables(path: Path, settings: dict[str, Any]) -> dict[str, dict[str, dict[str, str]]]:
    """Take these tables out of the settings and return them; raises click.UsageError for what cannot be in them."""
    return {table: _checked(path, table, settings.pop(table)) for table in _KEYS if table in settings}


def _checked(path: Path, table: str, entries: Any) -> dict[str, dict[str, str]]:
    needed, known = _KEYS[table]
    if not isinstance(entries, dict):
        raise click.UsageError(f"the configuration file {path}: {table} has to be tables, [{table}.NAME]")
    for name, entry in entries.items():
        place = f"the configuration file {path}: [{table}.{name}]"
        if not isinstance(entry, dict):
            raise click.UsageError(f"{place} has to be a table")
        if unknown := sorted(entry.keys() - known):
            raise click.UsageError(f"{place} has a setting that does not exist: {unknown[0]}")
        if missing := sorted(needed - entry.keys()):
            raise click.UsageError(f"{place} needs {missing[0]}")
        for key, value in entry.items():
            if not isinstance(value, str):
                raise click.UsageError(f"{place} {key} has to be text")
    return entries
