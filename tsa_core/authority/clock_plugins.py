"""Calls the clock's plugin and the monitors', and turns whatever they do wrong into what the gate knows.

The log says which plugin it was and what it did, once in ten seconds: both are called for every token.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from time import monotonic

from tsa_core.api import Clock, ClockError, ClockMonitor, ClockVerdict, TimeReading
from tsa_core.api.clock import reading_complaint, verdict_complaint

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 10.0
_CRASHED = ClockVerdict(trusted=False, reason="a clock monitor has failed")


class _Complaints:
    """Logs what a plugin does wrong, once in ten seconds."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._next = 0.0

    def tell(self, text: str, error: BaseException | None = None) -> None:
        now = monotonic()
        if now >= self._next:
            self._next = now + _PAUSE_SECONDS
            log.error("%s %s", self._what, text, exc_info=error)


class CheckedClock(Clock):
    """A plugin's clock, whose readings are looked at; raises ClockError for what is none."""

    def __init__(self, clock: Clock, what: str) -> None:
        self._now = clock.now
        self._complaints = _Complaints(what)

    def now(self) -> TimeReading:
        """Return the time; raises ClockError, and nothing else."""
        try:
            reading = self._now()
        except ClockError:
            raise
        except BaseException as error:
            self._complaints.tell("crashed", error)
            raise ClockError("the time cannot be read now") from error
        if complaint := reading_complaint(reading):
            self._complaints.tell(f"is wrong: now returned {complaint}")
            raise ClockError("the time cannot be read now")
        return reading


class Monitors:
    """The monitors' `verdict` methods, which tell what is read from them."""

    def __init__(self, monitors: Sequence[ClockMonitor], names: Sequence[str]) -> None:
        self.methods = tuple(monitor.verdict for monitor in monitors)
        """As they are, because every request calls them and compares what they return."""
        self._complaints = {method: _Complaints(name) for method, name in zip(self.methods, names, strict=True)}

    def read(self, method: Callable[[], ClockVerdict]) -> ClockVerdict:
        """Return a verdict; one that closes the gate when the monitor crashed, or returned something else."""
        try:
            verdict = method()
        except BaseException as error:  # noqa: BLE001 - logged, and it closes the gate
            self._complaints[method].tell("crashed", error)
            return _CRASHED
        if complaint := verdict_complaint(verdict):
            self._complaints[method].tell(f"is wrong: verdict returned {complaint}")
            return _CRASHED
        return verdict
