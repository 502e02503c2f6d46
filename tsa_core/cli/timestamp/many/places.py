"""Where the timestamps of files are, and how they are put there: whole or not at all, and never over another file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.files import STANDARD
from tsa_core.cli.timestamp.many.item import Item, shown_name
from tsa_core.cli.timestamp.whole_file import write_whole

_STDIN_NAME: Final = "stdin"


def base_of(name: str, out_dir: str | None) -> str:
    """Return where the timestamp of a file is, without its ending.

    Beside the file, or in `out_dir` under the file's own path: without the first slash if it is absolute, and without
    what leads out of the current directory if it is not.
    """
    name = _STDIN_NAME if name == STANDARD else name
    if out_dir is None:
        return name
    parts = [part for part in os.path.normpath(name).split(os.sep) if part not in {"", os.pardir}]
    return os.path.join(out_dir, *parts)


def check_places(items: Iterable[Item], out_dir: str | None) -> None:
    """Raise UsageMistake when two files would have their timestamps in one place."""
    found: dict[str, str] = {}
    for item in items:
        place = os.path.normpath(base_of(item.name, out_dir))
        other = found.setdefault(place, item.name)
        if other != item.name:
            raise UsageMistake(
                f"the timestamps of {shown_name(other)} and {shown_name(item.name)} would both be {shown_name(place)}"
            )


def write_new(path: str, data: bytes, *, replace: bool = False, synced: bool = False) -> None:
    """Write a file as `write_whole` does, and make its directory if there is none."""
    try:
        write_whole(path, data, replace=replace, synced=synced)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path) or os.curdir, exist_ok=True)
        write_whole(path, data, replace=replace, synced=synced)
