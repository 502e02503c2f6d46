"""Times: the minutes in which something was written, and spans of several processes that are one for a reader."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

_MINUTE: Final = timedelta(minutes=1)


class Minutes:
    """Which minutes of a period had a line: a bit for each, 66 kB for a year, in whatever order the lines come."""

    def __init__(self, begin: datetime, end: datetime) -> None:
        self._begin = begin.replace(second=0, microsecond=0)
        self._count = max(1, -((self._begin - end) // _MINUTE))
        self._bits = bytearray(-(-self._count // 8))
        self._last = ("", -1)

    def mark(self, text: str) -> bool:
        """Note a time within the period, as lines have it; return whether the text is one."""
        minute = text[:16]
        if minute == self._last[0]:
            return True
        time = moment(f"{minute}:00+00:00")
        if time is None:
            return False
        place = (time - self._begin) // _MINUTE
        self._last = minute, place
        if 0 <= place < self._count:
            self._bits[place >> 3] |= 1 << (place & 7)
        return True

    def silences(self, least: timedelta) -> Iterator[tuple[datetime, datetime]]:
        """Yield the times between two minutes with lines in which there was none, those of `least` and more."""
        previous = -1
        for place in self._marked():
            if previous >= 0 and (place - previous - 1) * _MINUTE >= least:
                yield self._begin + (previous + 1) * _MINUTE, self._begin + place * _MINUTE
            previous = place

    def _marked(self) -> Iterator[int]:
        for number, octet in enumerate(self._bits):
            if octet:
                yield from (number * 8 + bit for bit in range(8) if octet >> bit & 1)


@dataclass(kw_only=True)
class Outage:
    """A time in which something did not work, for one process or several. `end` is None when no line says it."""

    begin: datetime
    end: datetime | None
    reasons: set[str] = field(default_factory=set)
    processes: set[str] = field(default_factory=set)

    @property
    def reason(self) -> str:
        """The reasons in one text."""
        return "; ".join(sorted(self.reasons))


def merged(outages: Iterable[Outage], end: datetime) -> list[Outage]:
    """Return outages by their begin; those that overlap become one. One without an end lasts until `end`."""
    found: list[Outage] = []
    for outage in sorted(outages, key=lambda each: each.begin):
        last = found[-1] if found else None
        if last is not None and outage.begin <= (last.end or end):
            last.end = None if last.end is None or outage.end is None else max(last.end, outage.end)
            last.reasons |= outage.reasons
            last.processes |= outage.processes
        else:
            found.append(
                Outage(begin=outage.begin, end=outage.end, reasons=set(outage.reasons), processes=set(outage.processes))
            )
    return found


def moment(text: str) -> datetime | None:
    """Return the time of a text in a line; None for any other text."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
