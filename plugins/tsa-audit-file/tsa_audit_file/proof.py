"""When the sink has to store a record of its own, to find out whether records can be stored.

Every record that is stored proves it, those of other processes too. When there are none, a probe is stored: after a
failure as soon as there is room for what failed, when the disk seems to be full, and otherwise after `interval`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Final

from tsa_core.api.trail import Link, encode, utc_text

_FULL_SECONDS: Final = 300.0
"""How often a probe is stored on a file system that says it is full, and yet takes them."""
_LINE_OCTETS: Final = 128
"""What a line has beside the members that the sink gives it."""
_MAX_FILLER: Final = 8_192
"""More than the last block of a file has room for, when the file system has no other."""


class Proof:
    """What is known of whether records can be stored. For one thread at a time."""

    def __init__(self, interval: float | None) -> None:
        self._interval = interval
        self._proved_at = monotonic()
        self._end = Link()
        self._full_until = float("-inf")
        self._seems_full = False
        self.failed = 0
        """The octets that could not be stored, 0 when the last ones could be."""

    def stored(self) -> None:
        """Note that records were stored."""
        self._proved_at = monotonic()
        self.failed = 0

    def not_stored(self, members: Sequence[str]) -> None:
        """Note that records could not be stored."""
        self.failed = sum(len(each) + _LINE_OCTETS for each in members)

    def seen(self, end: Link) -> None:
        """Note the last line: when it is another one than before, some process could store it."""
        if end != self._end:
            self._end, self._proved_at = end, monotonic()

    def due(self, folder: Path) -> bool:
        """Say whether to store a probe now."""
        room = room_in(folder)
        if self.failed:
            return room is None or room >= self.failed
        now = monotonic()
        self._seems_full = room is not None and room < _LINE_OCTETS and now >= self._full_until
        if self._seems_full:
            return True
        return self._interval is not None and now - self._proved_at >= self._interval

    def probe_stored(self) -> None:
        """Note that a probe was stored: a file system that says it is full does not know."""
        if self._seems_full:
            self._full_until = monotonic() + _FULL_SECONDS

    def probe(self) -> str:
        """Return a record that needs as much room as what failed, up to 8 KiB, or 8 KiB when the disk seems full."""
        fields = {"type": "probe", "time": utc_text(datetime.now(UTC)), "pid": os.getpid()}
        needed = _MAX_FILLER if self._seems_full else self.failed - 2 * _LINE_OCTETS
        if needed > 0:
            fields["filler"] = "0" * min(needed, _MAX_FILLER)
        return encode(fields)


def room_in(folder: Path) -> int | None:
    """Return the free octets of the folder's file system, None when it does not tell."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return None
    if not status.f_blocks:
        return None
    return status.f_frsize * (status.f_bfree if os.geteuid() == 0 else status.f_bavail)
