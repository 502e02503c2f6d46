"""Writes files that must not be half written, nor be readable by others for a moment, nor take an input's place."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import click

from tsa_core.api import ConfigError


def write_file(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write a file whole or not at all, with exactly this mode; raises ConfigError when it cannot be written.

    A file of that name is replaced; a server that reads meanwhile sees the old one or the new one.
    """
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fchmod(stream.fileno(), mode)
                os.fsync(stream.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(f"the file cannot be written: {error.strerror}", path=str(path)) from None


def refuse_inputs(option: str, output: str | Path, inputs: Iterable[tuple[str, str | Path | None]]) -> None:
    """Raise UsageError when `output`, given by `option`, is a file that another option reads.

    By whatever name: another path, a link of either kind, or the shell's redirection of standard input (`-`).
    `inputs` are options with the files that they name, None where none was given.
    """
    written = _identity(output)
    if written is None:
        return
    for name, path in inputs:
        if path is not None and _identity(path) == written:
            raise click.UsageError(f"{option} {output} is the file that {name} reads; writing it would destroy that")


def _identity(path: str | Path) -> tuple[int, int] | None:
    """Return device and inode of a regular file, None for what is not there and what writing does not destroy."""
    try:
        status = os.fstat(sys.stdin.fileno()) if path == "-" else Path(path).stat()
    except (OSError, ValueError, AttributeError):
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None
