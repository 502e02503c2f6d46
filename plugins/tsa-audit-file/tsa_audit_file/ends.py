"""Reads the beginning and the end of a file of the trail, as much as is needed to continue it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final, NamedTuple

from tsa_audit_file.tampering import TamperedError
from tsa_core.api.trail import MAX_LINE_OCTETS, BrokenChainError, Hash, Link, check_line, read_line, tail_of

FORMAT_VERSION: Final = 1
_BLOCK: Final = 65_536
_MAX_FOLLOWED_OCTETS: Final = 1_048_576
"""More of other processes' lines than this is not checked line by line, since it is done under the lock."""


class End(NamedTuple):
    """The end of a file: its last line's link and object, where its last whole line ends, and what is torn behind."""

    link: Link
    last: dict[str, Any]
    size: int
    torn: int


def read_first(fd: int, path: Path, begun: Hash, *, keyed: bool) -> tuple[dict[str, Any], Link]:
    """Return the first line's object and link; raises BrokenChainError for a file that is not to be continued."""
    line = os.pread(fd, _BLOCK, 0).partition(b"\n")[0] + b"\n"
    try:
        first, link = read_line(line)
    except BrokenChainError as error:
        raise BrokenChainError(f"{path} is no audit file, or damaged at its beginning: {error}") from None
    if first["type"] != "file" or first.get("version") != FORMAT_VERSION:
        raise BrokenChainError(f"{path} does not begin as an audit file of version {FORMAT_VERSION} does")
    if first.get("keyed") is not keyed:
        wanted = "was begun with a key" if first.get("keyed") else "was begun without a key"
        raise BrokenChainError(f"{path} {wanted}; set or remove the key as it was, or move the file away")
    try:
        return check_line(line, Link(link.seq - 1, str(first["previous"])), begun)
    except BrokenChainError as error:
        raise BrokenChainError(
            f"the first line of {path} is damaged, or the key is another one: {error}; "
            "see `timestamp-server audit verify`, then move the file away"
        ) from None


def read_end(fd: int, size: int, path: Path, first: tuple[dict[str, Any], Link], begun: Hash) -> End:
    """Return the end of a file that this process has not read; its last line must follow the one before it."""
    data, start = read_tail(fd, size)
    whole = data.rfind(b"\n") + 1
    lines = data[:whole].split(b"\n")[-3:-1]
    before = Link(first[1].seq - 1, str(first[0]["previous"]))
    try:
        if len(lines) == 2:
            before = read_line(lines[0] + b"\n")[1]
        last, link = check_line(lines[-1] + b"\n", before, begun)
    except BrokenChainError as error:
        raise BrokenChainError(
            f"the last line of {path} is damaged, or the key is another one: {error}; "
            "see `timestamp-server audit verify`, then move the file away"
        ) from None
    return End(link, last, start + whole, len(data) - whole)


def follow_end(fd: int, size: int, path: Path, known: tuple[Link, int], begun: Hash) -> End:
    """Return the end of a file of which this process knows a line and where that ends; raises TamperedError.

    The line must still be there, and all lines of others must follow it.
    """
    link, end = known
    check_known(fd, size, path, known)
    if size - end > _MAX_FOLLOWED_OCTETS:
        first = read_first_unchecked(fd)
        try:
            found = read_end(fd, size, path, first, begun)
        except BrokenChainError as error:
            raise TamperedError(str(error)) from None
        if found.link.seq <= link.seq:
            raise TamperedError(f"{path} ends with line {found.link.seq}, although line {link.seq} was written before")
        return found
    data = b""
    while len(data) < size - end and (more := os.pread(fd, size - end - len(data), end + len(data))):
        data += more
    whole = data.rfind(b"\n") + 1
    last: dict[str, Any] = {}
    for line in data[:whole].split(b"\n")[:-1]:
        try:
            last, link = check_line(line + b"\n", link, begun)
        except BrokenChainError as error:
            raise TamperedError(f"{path} has a line after line {link.seq} that does not follow it: {error}") from None
    return End(link, last, end + whole, len(data) - whole)


def check_known(fd: int, size: int, path: Path, known: tuple[Link, int]) -> None:
    """Raise TamperedError unless the line that is known is where it was."""
    link, end = known
    if size < end:
        raise TamperedError(f"{path} became shorter: it has {size} bytes, and {end} were written")
    tail = tail_of(link)
    if os.pread(fd, len(tail), end - len(tail)) != tail:
        raise TamperedError(f"{path} was rewritten: line {link.seq} is not where it was written")


def read_first_unchecked(fd: int) -> tuple[dict[str, Any], Link]:
    """Return the first line's object and link as they are; raises BrokenChainError for what is no line."""
    return read_line(os.pread(fd, _BLOCK, 0).partition(b"\n")[0] + b"\n")


def read_tail(fd: int, size: int) -> tuple[bytes, int]:
    """Return the end of a file, with the last two whole lines at least if it has them, and where it begins."""
    start = size
    data = b""
    # The newline before the last but one line, or the beginning.
    while start > 0 and data.count(b"\n") < 3:
        if size - start > 2 * MAX_LINE_OCTETS:
            raise BrokenChainError("the file has no lines at its end")
        step = min(_BLOCK, start)
        start -= step
        data = os.pread(fd, step, start) + data
    return data, start
