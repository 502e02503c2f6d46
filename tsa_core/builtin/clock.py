"""The operating system's clock."""

from __future__ import annotations

from datetime import UTC, datetime

from tsa_core.api import Clock, NoOptions, TimeReading

_new_reading = tuple.__new__
"""Makes a TimeReading in half the time that its constructor takes; the clock is read for every token."""


class SystemClock(Clock):
    """Reads the wall clock; the clock monitors measure its error."""

    def now(self) -> TimeReading:
        """Return the system's time with unknown uncertainty."""
        return _new_reading(TimeReading, (datetime.now(UTC), None))


def open_clock(_options: NoOptions) -> SystemClock:
    """Open the system clock."""
    return SystemClock()
