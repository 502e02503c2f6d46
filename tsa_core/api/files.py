"""Files that operators name."""

from __future__ import annotations

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
