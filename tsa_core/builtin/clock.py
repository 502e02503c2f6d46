"""The operating system's clock."""

from __future__ import annotations

from datetime import UTC, datetime

from tsa_core.api import Clock, NoOptions, TimeReading


class SystemClock(Clock):
    """Reads the wall clock; how far it may be off is for the clock monitors to say."""

    def now(self) -> TimeReading:
        """Return the system's time with unknown uncertainty."""
        return TimeReading(datetime.now(UTC))


def open_clock(_options: NoOptions) -> SystemClock:
    """Open the system clock."""
    return SystemClock()
