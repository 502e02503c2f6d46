"""Where the timestamps of files are, and how they are put there: whole or not at all, and never over another file."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.files import STANDARD
from tsa_core.cli.timestamp.many.item import Item, shown_name
from tsa_core.cli.timestamp.many.sources import TEMPORARY

_STDIN_NAME: Final = "stdin"
_MODE: Final = 0o666
"""Less what the umask takes, as for any file that a program makes."""


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
    """Write a file whole or not at all, with the umask's mode; make its directory if there is none.

    Raises FileExistsError when something is there already, unless `replace` or it is an empty file, as a power loss
    leaves some, and OSError when it cannot be written. With `synced` it is on the disk, under its name, on return.
    """
    folder = os.path.dirname(path) or os.curdir
    temporary = os.path.join(folder, f"{TEMPORARY}{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(temporary, flags, _MODE)
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)
        descriptor = os.open(temporary, flags, _MODE)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            if synced:
                file.flush()
                os.fsync(descriptor)
        if replace or is_empty(path):
            os.replace(temporary, path)
        else:
            _place(temporary, path)
        if synced:
            _sync_folder(folder)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def is_empty(path: str) -> bool:
    """Say whether a file is there that holds nothing; no run leaves one, because it writes them whole."""
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and not status.st_size


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _place(temporary: str, path: str) -> None:
    """Give a file its name unless that is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        os.rename(temporary, path)
