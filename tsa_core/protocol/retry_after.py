"""The Retry-After header of HTTP (RFC 9110 10.2.3), which time stamping servers and signing backends send."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_MAX_SECONDS_DIGITS: Final = 9


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds that a Retry-After header names, as a number or as a date.

    None for a header that is not there or says anything else. `now` is the present time unless given.
    """
    value = (value or "").strip()
    if value.isascii() and value.isdecimal():
        return float(value) if len(value) <= _MAX_SECONDS_DIGITS else None
    try:
        moment = parsedate_to_datetime(value[:100])
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
