"""The clock gate: no trusted time, no token (rule S1)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from tsa_core.api import Clock, ClockError, ClockMonitor, ClockVerdict, TimeReading

log = logging.getLogger(__name__)


class ClockGate:
    """Reads the clock for tokens, as long as every monitor trusts it. Thread-safe; no I/O of its own."""

    def __init__(self, clock: Clock, monitors: Sequence[ClockMonitor] = ()) -> None:
        self._now = clock.now
        self._monitors = tuple(monitors)

    def read(self) -> TimeReading:
        """Return the time; raises ClockError with a text for the requester when it cannot be trusted."""
        for monitor in self._monitors:
            verdict = self._verdict(monitor)
            if not verdict.trusted:
                raise ClockError(f"the time cannot be trusted now: {verdict.reason}")
        try:
            return self._now()
        except ClockError:
            raise
        except Exception as error:
            log.exception("the clock crashed")
            raise ClockError("the time cannot be read now") from error

    def verdicts(self) -> list[ClockVerdict]:
        """Return the monitors' last verdicts, for people."""
        return [self._verdict(monitor) for monitor in self._monitors]

    @staticmethod
    def _verdict(monitor: ClockMonitor) -> ClockVerdict:
        try:
            return monitor.verdict()
        except Exception:
            log.exception("the clock monitor %s crashed", type(monitor).__name__)
            return ClockVerdict(trusted=False, reason="a clock monitor has failed")


class OrderedClock:
    """Hands out strictly increasing times for a profile whose tokens say ordering TRUE (rule S26).

    Each request reserves a tick of its own, the present one or the first that is free after it, and waits, without
    holding the lock, until the clock has got there. One that would have to wait too long is refused, and so is
    everybody while a clock that went back has not caught up: a lie about order is worse than a refusal.
    """

    _MAX_WAIT = timedelta(milliseconds=250)

    def __init__(self, gate: ClockGate, *, fraction_digits: int) -> None:
        self._gate = gate
        self._tick = timedelta(microseconds=10 ** (6 - fraction_digits))
        self._lock = threading.Lock()
        self._last = datetime.min.replace(tzinfo=UTC)

    def read(self) -> TimeReading:
        """Return a time whose tick is after the tick of every earlier one, and not in the future."""
        with self._lock:
            reading = self._gate.read()
            before = self._last
            mine = self._last = max(self._truncate(reading.time), before + self._tick)
            wait = mine - reading.time
            if wait > self._MAX_WAIT:
                self._last = before
                raise ClockError(
                    "the clock went back, or too many ask at once, and this service promises increasing times; "
                    "try again later"
                )
        if wait <= timedelta(0):
            return TimeReading(mine, reading.uncertainty)
        try:
            return self._wait(mine)
        except ClockError:
            with self._lock:
                if self._last == mine:  # nobody has built on it
                    self._last = before
            raise

    def _wait(self, mine: datetime) -> TimeReading:
        deadline = time.monotonic() + self._MAX_WAIT.total_seconds()
        while True:
            reading = self._gate.read()
            missing = (mine - reading.time).total_seconds()
            if missing <= 0:
                return TimeReading(mine, reading.uncertainty)
            if time.monotonic() + missing > deadline:
                raise ClockError("the clock stands still, and this service promises increasing times; try again later")
            time.sleep(missing)

    def _truncate(self, moment: datetime) -> datetime:
        step = self._tick // timedelta(microseconds=1)
        return moment.replace(microsecond=moment.microsecond // step * step)
