"""Files that survive a crash: there with all that they hold, or as they were before.

It needs no package beside the standard library, and no other room: whoever keeps something uses it, plugins too
(`tsa_core.api`).
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

PREFIX: Final = ".new-"
"""How the name of a file begins that is being written."""
_WRITING_SECONDS: Final = 60


def replace_file(
    path: Path,
    data: bytes | Iterable[bytes],
    *,
    mode: int | None = None,
    owner: tuple[int, int] | None = None,
    scratch: Path | None = None,
    exclusive: bool = False,
) -> None:
    """Give a file this content, at once and durably: a reader sees the old one or the new one, never a part.

    It has `mode` (0o666 without the umask's bits unless given) and `owner`, a user's and a group's number, before it
    has its name. It is written in `scratch`, a directory of the same file system, else beside its place. With
    `exclusive` it takes no other file's place. Raises OSError, FileExistsError among them; nothing is left behind then.
    """
    temporary = (scratch or path.parent) / f"{PREFIX}{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o666 if mode is None else 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            for part in [data] if isinstance(data, bytes) else data:
                stream.write(part)
            stream.flush()
            if owner is not None:
                os.fchown(descriptor, *owner)
            if mode is not None:
                os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        if exclusive:
            path.hardlink_to(temporary)
        else:
            temporary.replace(path)
            temporary = path
    finally:
        if temporary != path:
            with suppress(OSError):
                temporary.unlink()
    sync_folder(path.parent)


def open_regular(path: Path, flags: int = os.O_RDONLY, mode: int = 0o666) -> int:
    """Open a file as `os.open` does, and return its descriptor; a FIFO or a device is neither waited for nor used.

    Raises OSError, with EINVAL for what is no regular file.
    """
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return descriptor


def clear_scratch(scratch: Path) -> None:
    """Remove what processes that were killed have left. Raises OSError.

    A file of the last minute may be one that another process writes now, and stays.
    """
    for path in scratch.glob(f"{PREFIX}*"):
        with suppress(FileNotFoundError):
            if abs(time.time() - path.stat().st_mtime) > _WRITING_SECONDS:
                path.unlink()


def sync_folder(folder: Path) -> None:
    """Have the names in a directory on the disk; raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
