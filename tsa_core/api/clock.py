"""Clocks and what watches them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple


class TimeReading(NamedTuple):
    """One reading of a clock: an aware datetime in UTC and how far it may be off, None when unknown."""

    time: datetime
    uncertainty: timedelta | None = None


class Clock(ABC):
    """Tells the time that goes into tokens. Thread-safe, and fast: it is read for every token."""

    @abstractmethod
    def now(self) -> TimeReading:
        """Return the time; raises ClockError, with a text for the requester, when it has none to trust."""

    def close(self) -> None:  # noqa: B027 - optional: most clocks hold nothing to close
        """Release what the clock holds."""


@dataclass(frozen=True, kw_only=True)
class ClockVerdict:
    """What a monitor last found out about the clock.

    `trusted` is its word on whether tokens may be issued; `reason` says why, without names of the operator's
    hosts, because a refused requester reads it. `offset` is clock minus true time, `uncertainty` bounds the
    error of that figure; both None when nothing was measured. `checked_at` is time.monotonic() of the
    measurement, so that a monitor that has died can be noticed; 0 for none yet.
    """

    trusted: bool
    reason: str
    offset: timedelta | None = None
    uncertainty: timedelta | None = None
    checked_at: float = 0.0


class ClockMonitor(ABC):
    """Compares the clock with others in the background."""

    @abstractmethod
    def start(self, clock: Clock) -> None:
        """Begin to watch `clock`, in a thread of the monitor's own; called once."""

    @abstractmethod
    def verdict(self) -> ClockVerdict:
        """Return the last verdict at once: no I/O, no waiting, from any thread."""

    def stop(self) -> None:  # noqa: B027 - optional: a monitor without a thread has nothing to stop
        """Stop watching; called once more than needed does no harm."""
