"""Files that are put in their place whole or not at all, and never over another one unless that is asked for."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from typing import Final

TEMPORARY: Final = ".timestamp-cli-"
"""How the names of files that are being written begin."""
_MODE: Final = 0o666
"""Less what the umask takes, as for any file that a program makes."""


def write_whole(path: str, data: bytes, *, replace: bool = False, synced: bool = False) -> None:
    """Write a file whole or not at all, with the umask's mode.

    Raises FileExistsError when something is there already, unless `replace` or it is an empty file, as a power loss
    leaves some, and OSError when it cannot be written. With `synced` it is on the disk, under its name, on return.
    """
    folder = os.path.dirname(path) or os.curdir
    temporary = os.path.join(folder, f"{TEMPORARY}{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
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
