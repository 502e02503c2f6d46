"""Times as the report writes them, in UTC."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

MOST_ROWS: Final = 500
"""Of a table; the rest is counted."""


def second(moment: datetime) -> str:
    """Return a time to the second."""
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def day(moment: datetime) -> str:
    """Return a date."""
    return f"{moment:%Y-%m-%d}"


def cut(text: str) -> str:
    """Return a time of a line to the second."""
    return text[:19].replace("T", " ")


def length(duration: timedelta) -> str:
    """Return how long something took."""
    seconds = duration.total_seconds()
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.0f} min" if minutes < 120 else f"{hours:.1f} h"
