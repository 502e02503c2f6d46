"""Warns of certificates that end soon: at start, then daily, at a higher level the less time is left."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

from tsa_core.authority import days_between

log = logging.getLogger(__name__)

WARNING_DAYS = 90
_LEVELS = ((1.0, logging.CRITICAL), (14.0, logging.ERROR), (float(WARNING_DAYS), logging.WARNING))
_DAY_SECONDS = timedelta(days=1).total_seconds()


class CertificateWatch:
    """Logs the warnings, and remembers the last one of each profile."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], tuple[int, float]] = {}

    def look(self, profiles: Iterable[Mapping[str, Any]], *, now: datetime | None = None) -> None:
        """Log a line for each profile that ends soon: at first, every day, and when the level rises.

        `profiles` are mappings with `name`, `issues_until`, the last instant of tokens in ISO 8601, and `ends_with`,
        what ends then.
        """
        now = now or datetime.now(UTC)
        for profile in profiles:
            end = datetime.fromisoformat(profile["issues_until"])
            left = days_between(now, end)
            level = next((level for days, level in _LEVELS if left <= days), None)
            if level is None:
                continue
            key = profile["name"], profile["issues_until"]
            said_level, said_at = self._said.get(key, (0, 0.0))
            if level <= said_level and monotonic() < said_at + _DAY_SECONDS:
                continue
            self._said[key] = level, monotonic()
            log.log(level, "%s", _sentence(profile["name"], end, left, profile["ends_with"]))


def _sentence(name: str, end: datetime, left: float, ends_with: str) -> str:
    when = f"{end:%Y-%m-%d %H:%M:%S}Z"
    if left <= 0:
        return f"profile {name} stopped issuing on {when}: the {ends_with} has ended; renew it and reload"
    days = "less than a day" if left < 1 else f"{int(left)} day{'s' if left >= 2 else ''}"
    return f"profile {name} stops issuing on {when}, in {days}: the {ends_with} ends; renew it and reload"
