"""Whether a file of the trail continues one that a process knew, at once or after others in between."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from tsa_audit_file.ends import check_known, read_first_unchecked
from tsa_audit_file.tampering import TamperedError
from tsa_core.api import open_regular
from tsa_core.api.trail import BrokenChainError, Link


class Ancestor(NamedTuple):
    """What a process knew last: a file's inode, its last line known and where that ended, the number of the file."""

    inode: tuple[int, int]
    link: Link
    end: int
    number: int
    accepted: str
    moved: bool


def descends(first: dict[str, Any], link: Link, before: Ancestor, folder: Path) -> bool:
    """Return whether the file with this first line continues `before`, or an operator has accepted that it does not.

    The files between them are looked at as far as they are still there: rotated files may be moved away or compressed.
    """
    if first.get("accepted", "") > before.accepted:
        return True
    if link.seq - 1 == before.link.seq:
        return bool(first["previous"] == before.link.digest)
    number = first.get("file")
    if not isinstance(number, int) or number <= before.number or link.seq <= before.link.seq:
        return False
    for _ in range(number - before.number):
        name = first.get("previous_file")
        if not isinstance(name, str):
            return True  # the file before was moved away by hand
        try:
            fd = open_regular(folder / Path(name).name)
        except FileNotFoundError:
            return True
        try:
            status = os.fstat(fd)
            if (status.st_dev, status.st_ino) == before.inode:
                check_known(fd, status.st_size, folder / name, (before.link, before.end))
                return True
            first, _ = read_first_unchecked(fd)
        except (BrokenChainError, TamperedError):
            return False
        finally:
            os.close(fd)
    return False
