"""On which line of a TOML file each setting stands, for people who look for it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, Final

_LONGEST_STATEMENT: Final = 500
"""Lines of a value, an array for example; behind a longer one no line is known."""


def setting_lines(text: str) -> dict[str, int]:
    """Return the number of the line on which each setting of a TOML document begins, by its dotted path.

    Each statement is read by the TOML parser itself, alone. What it cannot read alone is in no line.
    """
    lines: dict[str, int] = {}
    table: tuple[str, ...] = ()
    for number, statement in _statements(text):
        try:
            found = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        if statement.lstrip().startswith("["):
            table = _header(found)
            continue
        for path in _paths(found):
            lines.setdefault(".".join((*table, *path)), number)
    return lines


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield each header and each `key = value`, which may take several lines, with the number of its first line."""
    pending: list[str] = []
    first = 0
    for number, line in enumerate(text.splitlines(), 1):
        if not pending and (not line.strip() or line.lstrip().startswith("#")):
            continue
        first = first if pending else number
        pending.append(line)
        statement = "\n".join(pending)
        try:
            tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            if len(pending) > _LONGEST_STATEMENT:
                return
            continue
        yield first, statement
        pending = []


def _header(found: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the path of the one table that a header opens."""
    path: tuple[str, ...] = ()
    value: Any = found
    while isinstance(value, Mapping) and value:
        name, value = next(iter(value.items()))
        path = (*path, name)
        value = value[-1] if isinstance(value, list) and value else value
    return path


def _paths(found: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of each value, and of the inline tables that hold it."""
    for name, value in found.items():
        yield (*path, name)
        if isinstance(value, Mapping):
            yield from _paths(value, (*path, name))
