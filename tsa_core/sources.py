"""What callers of the library give: one rule for every public function that takes data.

A `str` or `os.PathLike` is the path of a file. `bytes`, `bytearray` and `memoryview` are the content itself. An object
with `read` is a file that is open for reading bytes; it is read from where it stands, and stays open.
"""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike, fspath
from typing import BinaryIO, Final, TypeAlias

Source: TypeAlias = "bytes | bytearray | memoryview | str | PathLike[str] | BinaryIO"
"""A path (`str` or `os.PathLike`), the content (`bytes`-like), or a file that is open for reading bytes."""

CHUNK_OCTETS: Final = 1 << 20
_MAX_PATH: Final = 4096
_ALLOWED: Final = "give a path (str or os.PathLike), the content (bytes) or a file that is open for reading bytes"


def octets(source: Source, what: str, most: int) -> bytes:
    """Return what a source holds; of a file no more than `most` octets and one, which shows that it is too large.

    `what` names the argument in errors. Raises TypeError for what is no source, OSError for a file that cannot be read.
    """
    if isinstance(source, bytes):
        return source
    if isinstance(source, bytearray | memoryview):
        return bytes(source)
    data = bytearray()
    for chunk in chunks(source, what, most=most + 1):
        data += chunk
    return bytes(data)


def chunks(source: Source, what: str, *, most: int | None = None) -> Iterator[bytes]:
    """Yield what a source holds, in pieces of at most 1 MiB if it is a file; stop after `most` octets.

    Errors are those of `octets`. A file that was opened here is closed at the end, or with the generator.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        yield source if isinstance(source, bytes) else bytes(source)
    elif isinstance(source, str | PathLike):
        with open(path_of(source, what), "rb", buffering=0) as file:  # noqa: PTH123 - pathlib takes 3 ms of a command
            yield from _read(file, what, most)
    elif hasattr(source, "read"):
        yield from _read(source, what, most)
    else:
        raise TypeError(f"{what}: {_ALLOWED}, not {type(source).__name__}")


def path_of(source: str | PathLike[str], what: str) -> str:
    """Return a path; raises TypeError for a str that is plainly content, and for a path of bytes."""
    name = fspath(source)
    if not isinstance(name, str):
        raise TypeError(f"{what}: a path must be str, not {type(name).__name__}; {_ALLOWED}")
    if not name or len(name) > _MAX_PATH or "\0" in name or "\n" in name or name.startswith(("-----BEGIN", "{")):
        raise TypeError(f"{what}: a str is the path of a file, and this one is none; {_ALLOWED}")
    return name


def _read(file: BinaryIO, what: str, most: int | None) -> Iterator[bytes]:
    left = most
    while left is None or left > 0:
        chunk: object = file.read(CHUNK_OCTETS if left is None else min(left, CHUNK_OCTETS))
        if chunk is None:
            raise BlockingIOError(f"{what}: the file does not wait for its data; make it blocking")
        if not isinstance(chunk, bytes | bytearray | memoryview):
            raise TypeError(f"{what}: the file is open for reading text; open it with 'rb'")
        if not chunk:
            return
        yield bytes(chunk)
        if left is not None:
            left -= len(chunk)
