"""Notices that the clock was set, by whomever: it moves against the monotonic clock between two looks."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from tsa_core.api import ClockAnchor

STEP_SECONDS: Final = 1.0
"""Adjustments of a second or more belong into the audit trail (CA/B code signing 6.8)."""


class ClockStep(NamedTuple):
    """The clock was moved by `seconds`, forward if positive; `time` is what it showed then.

    A machine that slept looks the same: the monotonic clock of Linux does not count that time; and a clock that was set
    back meanwhile does not look right for it. So does a leap second that the kernel inserts.
    """

    seconds: float
    time: datetime


class StepWatch:
    """Compares each look at the clock with the one before it. For one thread at a time.

    The kernel corrects the rate of both clocks alike, so that only steps are seen, however long a look is ago.
    """

    def __init__(self) -> None:
        self._last: ClockAnchor | None = None

    def look(self, now: ClockAnchor) -> ClockStep | None:
        """Return the step since the last look, None when there was none of a second or more."""
        before, self._last = self._last, now
        moved = before.moved(now) if before is not None else 0.0
        return ClockStep(moved, now.time) if abs(moved) >= STEP_SECONDS else None

    def continue_from(self, before: StepWatch) -> None:
        """Go on where another watch over the same clock has looked last."""
        self._last = before._last
