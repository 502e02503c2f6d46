"""Every published checkpoint with its cosignatures, by the minute: `checkpoints/2026-11-29/1432`.

A file holds the checkpoints of one minute in their order, each followed by an empty line. It changes only within its
minute. Whoever has a token knows which minutes to look at.
"""

from __future__ import annotations

from datetime import datetime

from tsa_core.api.transparency import EncodingError, SignedCheckpoint, parse_signed_checkpoint
from tsa_log.storage import Storage

_SIGNATURE = b"\xe2\x80\x94 "


def minute_path(moment: datetime) -> str:
    """Return the file of a moment in UTC."""
    return f"checkpoints/{moment:%Y-%m-%d}/{moment:%H%M}"


def append_checkpoint(storage: Storage, note: bytes, moment: datetime) -> None:
    """Add a checkpoint to the file of its minute."""
    path = minute_path(moment)
    try:
        before = storage.read(path)
    except FileNotFoundError:
        before = b""
    storage.write(path, before + note + b"\n")


def read_minute(data: bytes) -> list[SignedCheckpoint]:
    """Return the checkpoints of a minute's file; raises EncodingError."""
    found: list[SignedCheckpoint] = []
    lines: list[bytes] = []
    for line in data.splitlines(keepends=True):
        if line == b"\n" and lines and lines[-1].startswith(_SIGNATURE):
            found.append(parse_signed_checkpoint(b"".join(lines)))
            lines = []
        else:
            lines.append(line)
    if lines:
        raise EncodingError("the last checkpoint of the minute is cut off")
    return found
