"""What a process knows, at its end, of the requests that had arrived."""

from __future__ import annotations

from enum import IntEnum


class Answered(IntEnum):
    """Whether all were answered, the worst last. The numbers are exit codes of workers, too."""

    ALL = 0
    NOT_KNOWN = 3
    """All that had arrived whole were; others may have begun to arrive."""
    NOT_ALL = 4

    @property
    def text(self) -> str:
        """What the log says of it."""
        return {
            Answered.ALL: "every request that had arrived was answered",
            Answered.NOT_KNOWN: "every request that had arrived whole was answered; whether others had begun to arrive "
            "is not known, see the lines above",
            Answered.NOT_ALL: "requests were cut off; see the lines above",
        }[self]
