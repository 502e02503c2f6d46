"""The list of a batch's objects, in the format of sha256sum: `sha256sum -c` reads it without us.

One line for each object, `DIGEST  NAME`. A name with a backslash, a newline or a carriage return is escaped, and its
line begins with a backslash, as in coreutils 9.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

_ESCAPES: Final = ((b"\\", b"\\\\"), (b"\n", b"\\n"), (b"\r", b"\\r"))
_PLAIN: Final = {b"\\": b"\\", b"n": b"\n", b"r": b"\r"}


class Entry(NamedTuple):
    """One object: its name, relative to the batch's base or absolute, and its digest."""

    name: str
    digest: bytes


def encode_line(name: str, digest: bytes) -> bytes:
    """Return the line of an object."""
    encoded = os.fsencode(name)
    if b"\\" in encoded or b"\n" in encoded or b"\r" in encoded:
        for plain, escaped in _ESCAPES:
            encoded = encoded.replace(plain, escaped)
        return b"\\%s  %s\n" % (digest.hex().encode(), encoded)
    return b"%s  %s\n" % (digest.hex().encode(), encoded)


def read_entries(path: Path) -> Iterator[Entry]:
    """Yield the objects of a list in its order; raises ValueError for a line that is not one."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            digest, separator, name = line.removesuffix(b"\n").partition(b"  ")
            if not separator or not name:
                raise ValueError(f"line {number} of {path} is not `DIGEST  NAME`")
            if digest.startswith(b"\\"):
                digest, name = digest[1:], _unescaped(name)
            yield Entry(os.fsdecode(name), bytes.fromhex(digest.decode("ascii", "replace")))


def _unescaped(name: bytes) -> bytes:
    parts = bytearray()
    position = 0
    while position < len(name):
        letter = name[position : position + 1]
        if letter == b"\\":
            position += 1
            letter = _PLAIN.get(name[position : position + 1], b"\\")
        parts += letter
        position += 1
    return bytes(parts)


def group_of(name: str) -> str:
    """Return the folder of an object: its data group in a batch that groups by folder."""
    return os.path.dirname(name)  # noqa: PTH120 - a million of them
