"""Writing that survives a crash: a file, or a folder, is there with all that it holds, or it is not there."""

from __future__ import annotations

import os
from contextlib import suppress
from mmap import mmap
from pathlib import Path
from typing import IO


def write_new(path: Path, data: bytes | bytearray | mmap) -> None:
    """Write a file that nothing refers to yet, durably."""
    with path.open("wb") as file:
        file.write(data)
        settle(file)


def settle(file: IO[bytes]) -> None:
    """Have what was written to an open file on the disk."""
    file.flush()
    os.fsync(file.fileno())


def replace_file(path: Path, data: bytes) -> None:
    """Exchange a file's content at once, durably."""
    beside = path.with_name(f".{path.name}.new")
    try:
        write_new(beside, data)
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise
    settle_folder(path.parent)


def settle_folder(path: Path) -> None:
    """Have the names in a folder on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
