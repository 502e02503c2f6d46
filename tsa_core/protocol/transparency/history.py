"""Every published checkpoint with its cosignatures, by the minute: `checkpoints/2026-11-29/1432`.

A file holds the checkpoints of one minute in their order, each followed by an empty line. It changes only within its
minute. Whoever has a token knows at which minutes to look: that of genTime, and the next ones.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.transparency.checkpoint import SignedCheckpoint, parse_signed_checkpoint

MAX_MINUTE_OCTETS: Final = 16 << 20
_SIGNATURE: Final = "— ".encode()


def minute_path(moment: datetime) -> str:
    """Return the file, below the log's prefix, of a moment in UTC."""
    return f"checkpoints/{moment:%Y-%m-%d}/{moment:%H%M}"


def encode_minute(before: bytes, note: bytes) -> bytes:
    """Return a minute's file with another checkpoint, a signed note."""
    return before + note + b"\n"


def read_minute(data: bytes) -> list[SignedCheckpoint]:
    """Return the checkpoints of a minute's file, in the order of their publication; raises EncodingError."""
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
