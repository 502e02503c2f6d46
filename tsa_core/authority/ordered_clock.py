"""Strictly increasing times for profiles whose tokens promise an order."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta

from tsa_core.api import ClockError, TimeReading
from tsa_core.authority.gate import ClockGate


class OrderedClock:
    """Hands out strictly increasing times for a profile whose tokens say ordering TRUE (rule S26).

    Two requests in the same tick: the second waits for the next tick. A clock that went back: ClockError, until it
    has caught up, because a lie about order is worse than a refusal.
    """

    _MAX_WAIT_SECONDS = 0.25

    def __init__(self, gate: ClockGate, *, fraction_digits: int) -> None:
        self._gate = gate
        self._tick = timedelta(microseconds=10 ** (6 - fraction_digits))
        self._lock = threading.Lock()
        self._last: datetime | None = None

    def read(self) -> TimeReading:
        """Return a time whose tick is after the tick of every earlier one."""
        deadline = time.monotonic() + self._MAX_WAIT_SECONDS
        with self._lock:
            while True:
                reading = self._gate.read()
                tick = self._truncate(reading.time)
                if self._last is None or tick > self._last:
                    self._last = tick
                    return reading
                if tick < self._last - self._tick:
                    raise ClockError("the clock went back, and this service promises increasing times; try again later")
                if time.monotonic() > deadline:
                    raise ClockError(
                        "no time after the last timestamp's came in due time, and this service promises increasing "
                        "times; try again"
                    )
                time.sleep((self._last + self._tick - tick).total_seconds() / 10)

    def _truncate(self, moment: datetime) -> datetime:
        step = self._tick // timedelta(microseconds=1)
        return moment.replace(microsecond=moment.microsecond // step * step)
