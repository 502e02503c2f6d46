"""The commands of plugins, from the files of metadata: importlib.metadata takes as long as all else that help needs.

Only what such files are in practice is read here: folders on the path, with plain entries. For all else
`plugin_commands.names_in_metadata` decides, which finds the same.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Final

COMMANDS: Final = "tsa_core.commands"
PLUGINS: Final = "tsa_core.plugins"


class _Unusual(Exception):
    """Only importlib.metadata can tell."""


def names_in_files() -> dict[str, dict[str, str]] | None:
    """Return what `names_in_metadata` returns; None where that must be asked."""
    if any(hasattr(each, "find_distributions") and not _is_pythons(each) for each in sys.meta_path):
        return None
    found: dict[str, dict[str, str]] = {COMMANDS: {}, PLUGINS: {}}
    try:
        for folder in _metadata_folders():
            entries = list(_entries(folder, _text(f"{folder}/entry_points.txt")))
            line = _line(folder) if entries else ""
            for group, name in entries:
                found[group].setdefault(name, line)
    except (_Unusual, OSError, ValueError):
        return None
    return {group: dict(sorted(names.items())) for group, names in found.items()}


def _is_pythons(finder: object) -> bool:
    return getattr(finder, "__name__", "") == "PathFinder"


def _metadata_folders() -> Iterator[str]:
    """Yield the folders with metadata on the path, in the order in which importlib.metadata finds them."""
    for place in sys.path:
        if place.lower().endswith(".egg") or os.path.isfile(place):  # noqa: PTH113 - pathlib takes 3 ms
            raise _Unusual
        try:
            names = os.listdir(place or ".")  # noqa: PTH208 - as above
        except OSError:
            continue
        yield from (f"{place or '.'}/{name}" for name in names if name.lower().endswith((".dist-info", ".egg-info")))


def _text(path: str) -> str:
    """Return a file's text, nothing where there is no such file."""
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - as above
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _entries(folder: str, text: str) -> Iterator[tuple[str, str]]:
    """Yield group and name of each entry point of our groups."""
    if "tsa_core." not in text:
        return
    if text.count(f"[{COMMANDS}]") > 1 or text.count(f"[{PLUGINS}]") > 1:
        raise _Unusual(folder)
    group = ""
    for line in map(str.strip, text.splitlines()):
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            group = line.strip("[]")
        elif group in (COMMANDS, PLUGINS):
            name, equals, _ = line.partition("=")
            if not equals:
                raise _Unusual(folder)
            yield group, name.strip()


def _line(folder: str) -> str:
    """Return a distribution's summary and name; the headers of metadata end with the first empty line."""
    known: dict[str, str] = {}
    lines = _text(f"{folder}/METADATA").partition("\n\n")[0].split("\n")
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        name, colon, value = line.partition(":")
        if name in {"Name", "Summary"}:
            if not colon or name in known or following[:1] in {" ", "\t"}:
                raise _Unusual(folder)
            known[name] = value.strip()
    if "Name" not in known:
        raise _Unusual(folder)
    return f"{known.get('Summary', '')} ({known['Name']})"
