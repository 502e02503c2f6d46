"""Refuses an output that would take the place of an input."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tsa_core.cli.mistake import UsageMistake

if TYPE_CHECKING:
    from pathlib import Path


def refuse_inputs(option: str, output: str | Path, inputs: Iterable[tuple[str, str | Path | None]]) -> None:
    """Raise UsageMistake when `output`, given by `option`, is a file that another option reads.

    By whatever name: another path, a link of either kind, or the shell's redirection of standard input (`-`).
    `inputs` are options with the files that they name, None where none was given.
    """
    written = _identity(output)
    if written is None:
        return
    for name, path in inputs:
        if path is not None and _identity(path) == written:
            raise UsageMistake(f"{option} {output} is the file that {name} reads; writing it would destroy that")


def _identity(path: str | Path) -> tuple[int, int] | None:
    """Return device and inode of a regular file, None for what is not there and what writing does not destroy."""
    try:
        status = os.fstat(sys.stdin.fileno()) if path == "-" else os.stat(path)  # noqa: PTH116 - pathlib takes 2 ms
    except (OSError, ValueError, AttributeError):
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None
