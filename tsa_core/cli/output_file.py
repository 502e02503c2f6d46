"""Writes files that must not be half written, nor be readable by others for a moment."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

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
