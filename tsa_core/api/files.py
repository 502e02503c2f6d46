"""Files that operators name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tsa_core.api.errors import ConfigError


def read_file(path: Path, what: str, *, limit: int) -> bytes:
    """Return the bytes of a file that the operator has named, and `limit` bytes at the most.

    `what` is what should be in it, in the operator's words: "private key". A wrong path, to a disk image or a device,
    fills no memory. Raises ConfigError when the file cannot be read or is larger.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise ConfigError(f"the {what} cannot be read: {error.strerror}", path=str(path)) from None
    if len(data) > limit:
        raise ConfigError(f"the file is larger than any {what} ({limit // 1024} KiB)", path=str(path))
    return data


def why_not_writable(folder: Path) -> str:
    """Return why no file can be made in a folder, which may have to be made first; empty when one can.

    Asks the system and changes nothing, for what a provider opens instead when `timestamp-server check` asks it to.
    """
    there = folder
    while not there.exists() and there.parent != there:
        there = there.parent
    if not there.is_dir():
        return f"{there} is no directory"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"nothing can be written in {there}"
    try:
        room = os.statvfs(there)
    except OSError as error:
        return f"{there}: {error.strerror}"
    return "" if room.f_bavail or not room.f_blocks else f"the disk of {there} is full"


@contextmanager
def key_file(path: Path, what: str, *, limit: int) -> Iterator[bytearray]:
    """Read a file as `read_file` does, into a buffer that is overwritten with zeros at the end of the block.

    Whoever copies the buffer, by a slice for example, overwrites the copy.
    """
    # Not one buffer that is made shorter: that may move what it holds, and leave a copy behind.
    room, data = bytearray(limit + 1), bytearray()
    try:
        try:
            with path.open("rb", buffering=0) as stream, memoryview(room) as view:
                length = 0
                while length < len(view) and (octets := stream.readinto(view[length:])):
                    length += octets
                data = bytearray(view[:length])
        except OSError as error:
            raise ConfigError(f"the {what} cannot be read: {error.strerror}", path=str(path)) from None
        if length > limit:
            raise ConfigError(f"the file is larger than any {what} ({limit // 1024} KiB)", path=str(path))
        yield data
    finally:
        room[:] = bytes(len(room))
        data[:] = bytes(len(data))
