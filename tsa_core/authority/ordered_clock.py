"""Strictly increasing times for profiles whose tokens promise an order."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

from tsa_core.api import ClockError, TimeReading
from tsa_core.authority.gate import ClockGate


class _Ticks:
    """The last tick that was assigned."""

    __slots__ = ("last", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.last = datetime.min.replace(tzinfo=UTC)


class OrderedClock:
    """Returns strictly increasing times for a profile whose tokens state ordering TRUE (rule S26).

    `after` is the clock of the same profile before a reload: the times of both are in one order.

    Each request reserves a tick, the current one or the next free one. It waits, without holding the lock, until the
    clock has reached that tick. A request that would have to wait too long is refused. After the clock was set back,
    all requests are refused until it has caught up: a token with a wrong order is worse than a refusal.
    """

    _MAX_WAIT = timedelta(milliseconds=250)

    def __init__(self, gate: ClockGate, *, fraction_digits: int, after: OrderedClock | None = None) -> None:
        self._gate = gate
        self._tick = timedelta(microseconds=10 ** (6 - fraction_digits))
        # Requests that began before a reload still read the former clock.
        self._ticks: _Ticks = after._ticks if after else _Ticks()

    def read(self) -> TimeReading:
        """Return a time whose tick is after the tick of every earlier one, and not in the future."""
        with self._ticks.lock:
            reading = self._gate.read()
            before = self._ticks.last
            mine = self._ticks.last = max(self._truncate(reading.time), before + self._tick)
            wait = mine - reading.time
            if wait > self._MAX_WAIT:
                self._ticks.last = before
                raise ClockError(
                    "the clock went back, or too many ask at once, and this service promises increasing times; "
                    "try again later"
                )
        if wait <= timedelta(0):
            return TimeReading(mine, reading.uncertainty)
        try:
            return self._wait(mine)
        except ClockError:
            with self._ticks.lock:
                if self._ticks.last == mine:  # no later tick has been assigned
                    self._ticks.last = before
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
