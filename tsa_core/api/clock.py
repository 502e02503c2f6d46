"""Clocks and what watches them."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite
from typing import Any, Final, Literal, NamedTuple, Self, get_args

if sys.platform == "linux":
    from time import CLOCK_BOOTTIME, CLOCK_MONOTONIC, clock_gettime

from tsa_core.api.wrong_types import describe

_NOTHING: Final = timedelta(0)


class TimeReading(NamedTuple):
    """One reading of a clock: an aware datetime in UTC and how far it may be off, None when unknown."""

    time: datetime
    uncertainty: timedelta | None = None


def reading_complaint(reading: object) -> str:
    """Return what is wrong with what a clock's `now` returned; empty when nothing is."""
    if not isinstance(reading, TimeReading):
        return f"{describe(reading)}, not a TimeReading"
    time, uncertainty = tuple[object, object](reading)
    if not isinstance(time, datetime) or time.utcoffset() != timedelta(0):
        return "a time that is not an aware datetime in UTC"
    if not isinstance(uncertainty, timedelta | None):
        return f"an uncertainty that is {describe(uncertainty)}, not a timedelta"
    if uncertainty is not None and uncertainty < _NOTHING:
        return "an uncertainty below 0"
    return ""


class Clock(ABC):
    """Tells the time that goes into tokens. Thread-safe, and fast: it is read for every token.

    `latency` tells the server how to run the clock: a "remote" one waits for a device or a network, so all requests run
    in threads, and each reading has to come within `[clock] source_timeout`: after that the request is refused with
    timeNotAvailable. It is read once, after the clock was opened.
    """

    latency: Literal["local", "remote"] = "local"

    @abstractmethod
    def now(self) -> TimeReading:
        """Return the time; raises ClockError, with a text for the requester, when it has none to trust."""

    def close(self) -> None:  # noqa: B027 - optional: most clocks hold nothing to close
        """Release what the clock holds."""


class ClockAnchor(NamedTuple):
    """A clock's reading and time.monotonic() of the same instant: what a later jump of the clock is measured by.

    `error` is by how many seconds the two may be apart: half of what the reading took. `suspended` is for how many
    seconds the machine was suspended since it was booted, which the monotonic clock of Linux does not count; None where
    that is not known.
    """

    time: datetime
    monotonic: float
    error: float = 0.0
    suspended: float | None = None

    @classmethod
    def take(cls, clock: Clock) -> Self:
        """Read both as close together as can be; raises what `clock.now()` raises."""
        best: tuple[float, Self] | None = None
        for _ in range(5):
            before = time.monotonic()
            reading = clock.now().time
            after = time.monotonic()
            # A thread that was put aside between the readings would look like a clock that jumped.
            if best is None or after - before < best[0]:
                best = after - before, cls(reading, (before + after) / 2, (after - before) / 2)
            if after - before < _TIGHT_SECONDS:
                break
        assert best is not None  # noqa: S101 - the loop runs
        return best[1]._replace(suspended=_suspended_seconds())

    def moved(self, later: ClockAnchor) -> float:
        """Return by how many seconds the clock ran ahead (or behind, negative) of the monotonic clock until `later`.

        That is off by the `error` of both at most. Of a machine that was suspended meanwhile, it is the larger one of
        what the clock ran ahead of the monotonic clock and of one that counts that time, too: a clock that was set back
        by just as much would agree with the first one.
        """
        ahead = (later.time - self.time).total_seconds() - (later.monotonic - self.monotonic)
        if self.suspended is None or later.suspended is None:
            return ahead
        suspended = later.suspended - self.suspended
        return max(ahead, ahead - suspended, key=abs) if suspended > _LEAST_SUSPENSION_SECONDS else ahead


_TIGHT_SECONDS = 50e-6
_LEAST_SUSPENSION_SECONDS: Final = 0.1
"""More than two readings of clocks may be apart, and less than any suspension."""


def _suspended_seconds() -> float | None:
    """Return for how long the machine was suspended: CLOCK_BOOTTIME counts that, and CLOCK_MONOTONIC does not."""
    if sys.platform != "linux":
        return None
    best: tuple[float, float] | None = None
    for _ in range(5):
        before = clock_gettime(CLOCK_MONOTONIC)
        boot = clock_gettime(CLOCK_BOOTTIME)
        took = clock_gettime(CLOCK_MONOTONIC) - before
        if best is None or took < best[0]:
            best = took, boot - before
        if took < _TIGHT_SECONDS:
            break
    return best[1] if best is not None else None


LeapWarning = Literal["none", "insert", "delete"]
"""Whether the last minute of this UTC month has a second more or less."""


@dataclass(frozen=True, kw_only=True)
class ClockVerdict:
    """What a monitor last found out about the clock.

    `trusted` is its word on whether tokens may be issued; `reason` says why, without names of the operator's
    hosts, because a refused requester reads it. `offset` is clock minus true time, `uncertainty` bounds the
    error of that figure; both None when nothing was measured. `checked_at` is time.monotonic() of the
    measurement, so that a monitor that has died can be noticed; 0 for none yet. One in the future, as time.time()
    gives, is refused, and so is an uncertainty below 0.

    `measured` is False when there was nothing to compare with, which differs from a clock that was found wrong: the
    gate may then hold over on the last good verdict. `anchor` is the clock when the measurement began, at or before
    the oldest answer in it: a step since then is noticed, even one in the middle of the measurement. `valid_for`
    says how long the verdict stands: a monitor that has not given a new one by then has died. `leap` is the leap
    second that is announced for the end of this UTC month. `basis` says in a few words what the clock was compared
    with and whether that was authenticated, for the audit trail: 120 characters at most.
    """

    trusted: bool
    reason: str
    offset: timedelta | None = None
    uncertainty: timedelta | None = None
    checked_at: float = 0.0
    measured: bool = True
    anchor: ClockAnchor | None = None
    valid_for: timedelta | None = None
    leap: LeapWarning = "none"
    basis: str = ""


_FIELD_TYPES: Final[Mapping[str, Any]] = {
    "trusted": bool,
    "reason": str,
    "offset": timedelta | None,
    "uncertainty": timedelta | None,
    "checked_at": float | int,
    "measured": bool,
    "anchor": ClockAnchor | None,
    "valid_for": timedelta | None,
    "leap": str,
    "basis": str,
}


def verdict_complaint(verdict: object) -> str:
    """Return what is wrong with what a monitor's `verdict` returned; empty when nothing is."""
    if not isinstance(verdict, ClockVerdict):
        return f"{describe(verdict)}, not a ClockVerdict"
    for name, wanted in _FIELD_TYPES.items():
        value = getattr(verdict, name)
        if not isinstance(value, wanted):
            return f"a ClockVerdict whose {name} is {describe(value)}"
    if verdict.leap not in get_args(LeapWarning):
        return f"a ClockVerdict whose leap is none of: {', '.join(get_args(LeapWarning))}"
    wrong = _wrong_figures(verdict)
    return f"a ClockVerdict whose {wrong}" if wrong else ""


def _wrong_figures(verdict: ClockVerdict) -> str:
    """Return what is wrong with the figures of a verdict, each of a right type; empty when nothing is.

    One by another clock than time.monotonic() lies in its future, where no verdict ever becomes old.
    """
    now = time.monotonic()
    if not 0 <= verdict.checked_at <= now:
        return f"checked_at is {verdict.checked_at}, where time.monotonic() says {now:.1f}"
    if verdict.uncertainty is not None and verdict.uncertainty < _NOTHING:
        return "uncertainty is below 0"
    anchor = verdict.anchor
    if anchor is None:
        return ""
    reading, monotonic, error, suspended = tuple[Any, ...](anchor)
    numbers = (monotonic, error, 0.0 if suspended is None else suspended)
    if not isinstance(reading, datetime) or reading.utcoffset() != _NOTHING:
        return "anchor has a time that is not an aware datetime in UTC"
    if not all(isinstance(each, float | int) and isfinite(each) for each in numbers):
        return f"anchor has something else than numbers: {numbers!r}"
    if not 0 <= monotonic <= now:
        return f"anchor has the monotonic time {monotonic}, where time.monotonic() says {now:.1f}"
    return "anchor has an error below 0" if error < 0 else ""


@dataclass(frozen=True, kw_only=True)
class TimeSourceReport:
    """The last answer of one source that a monitor asks, for the operator's eyes.

    `outcome` is one word or a few: answered, no answer, refused. `used` says whether the source agrees with the
    majority; None when it did not come to that. `offset` is clock minus this source's time; `address` is where the
    answer came from. `authenticated` says whether the answer was proven to be this source's own, None when the monitor
    cannot tell.
    """

    name: str
    outcome: str
    used: bool | None = None
    address: str = ""
    stratum: int | None = None
    offset: timedelta | None = None
    uncertainty: timedelta | None = None
    delay: timedelta | None = None
    answered_at: datetime | None = None
    authenticated: bool | None = None


class ClockMonitor(ABC):
    """Compares the clock with others in the background."""

    @abstractmethod
    def start(self, clock: Clock) -> None:
        """Begin to watch `clock`, in a thread of the monitor's own; called once."""

    @abstractmethod
    def verdict(self) -> ClockVerdict:
        """Return the last verdict at once: no I/O, no waiting, from any thread.

        Called for every token. Return the same object until there is a new verdict: the gate evaluates an object
        once.
        """

    def sources(self) -> Sequence[TimeSourceReport]:
        """Return the last answer of each source, for `timestamp-server clock`; none by default."""
        return ()

    @property
    def period(self) -> timedelta | None:
        """The time between two measurements when all goes well; None when the monitor cannot say.

        The start is refused when the clock may drift further in that time than the accuracy that tokens state.
        """
        return None

    def memory(self) -> str:
        """Return what the monitor that a reload puts in this one's place must know, in a form of the plugin's own.

        For example which sources have asked to be left alone. Called after each new verdict and before a reload.
        """
        return ""

    def remember(self, memory: str) -> None:  # noqa: B027 - optional: most monitors have nothing to remember
        """Take over what `memory` of a monitor of the same name returned; called before `start`, if at all."""

    def stop(self) -> None:  # noqa: B027 - optional: a monitor without a thread has nothing to stop
        """Stop watching; called once more than needed does no harm."""
