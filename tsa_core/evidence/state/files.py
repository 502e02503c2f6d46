"""Writing that survives a crash: a file, or a folder, is there with all that it holds, or it is not there."""

from __future__ import annotations

import os
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
