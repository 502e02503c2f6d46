"""A wall clock that a test moves: the time of day of real servers, by libfaketime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tsa_core.testing.chronyd import moved_clock


class WallClock:
    """The time of day of a process that runs with `environ`; its monotonic clock is the system's."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "faketime"
        self.set_by(0)

    def set_by(self, seconds: int) -> None:
        """Set it to so many seconds from the system's."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}s\n")
        fresh.replace(self.file)

    @property
    def environ(self) -> Mapping[str, str]:
        """The variables of the process."""
        return moved_clock(self.file)
