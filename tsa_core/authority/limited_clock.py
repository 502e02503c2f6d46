"""A clock that waits, with a time limit for each reading."""

from __future__ import annotations

from tsa_core.api import Clock, ClockError, TimeReading
from tsa_core.authority.causes import Cause, CauseKind
from tsa_core.authority.plugin_calls import PluginCalls

_HANGS = "the clock does not answer now; try again later"


class LimitedClock(Clock):
    """Reads a clock in threads, and raises ClockError when it has not answered in time; equal for the same clock.

    While `hangs` is active, most readings fail at once: see PluginCalls.
    """

    latency = "remote"

    def __init__(self, clock: Clock, *, name: str, seconds: float, threads: int) -> None:
        self._clock = clock
        self.hangs = Cause(CauseKind.CLOCK)
        """Active while the clock does not answer."""
        self._calls = PluginCalls(
            f"the clock {name!r}",
            seconds=seconds,
            hangs=self.hangs,
            error=lambda _text: ClockError(_HANGS),
            threads=threads,
        )

    def now(self) -> TimeReading:
        """Return the time; raises ClockError."""
        return self._calls.call(self._clock.now)

    def close(self) -> None:
        """End the threads; the clock itself stays open."""
        self._calls.close()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LimitedClock) and other._clock is self._clock

    def __hash__(self) -> int:
        return hash(id(self._clock))
