"""What a clock without a monitor is compared with: the monotonic clock, since the server started.

Nothing here can tell whether the clock was right at the start, or whether it drifts since. But a step shows: nobody can
set the monotonic clock.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import NamedTuple

from tsa_core.api import Clock, ClockAnchor, TimeReading
from tsa_core.authority.clock_state import ClockState, Judgement
from tsa_core.authority.kernel_clock import KernelClock, read_kernel_clock
from tsa_core.authority.leap import LeapSecond

log = logging.getLogger(__name__)

UNMONITORED = "no monitor compares the clock with others"
_KERNEL_UNSYNCHRONISED = "the kernel says that its clock is not synchronised"
_SET = "the clock was set, and no monitor can tell whether it is right"
_LEAST_STEP_SECONDS = 0.001
"""What two readings of the clock may differ by without a step."""
_SLEWED_ALIKE = sys.platform == "linux"
"""Whether a time service that corrects the system's clock gradually corrects the monotonic clock too."""


class _Start(NamedTuple):
    anchor: ClockAnchor
    kernel: KernelClock | None


class ClockReference:
    """A clock beside the monotonic clock at one instant, from which steps are counted; all of them add up.

    The instant is the first call of `moved` or `renew`. It is taken anew when the kernel's clock becomes synchronised:
    the step that a time service makes then is its correction. A clock that is not slewed together with the monotonic
    clock, as all but the system's, may drift against it, which is no step.
    """

    def __init__(self, *, of_system: bool = False) -> None:
        self._follows = not (_SLEWED_ALIKE and of_system)
        # Replaced as one object, because a gate before a reload may share it with the one after.
        self._start: _Start | None = None
        self._followed_at = 0.0

    def renew(self, now: ClockAnchor, kernel: KernelClock | None) -> None:
        """Take the reference at `now` if there is none, or if the kernel's clock has become synchronised since."""
        start = self._start
        if start is None:
            self._start, self._followed_at = _Start(now, kernel), now.monotonic
        elif kernel is None or start.kernel is None:
            return
        elif kernel.synchronised and not start.kernel.synchronised:
            log.info(
                "the kernel's clock is synchronised now, and was corrected by %+.6f s; steps are counted from now",
                start.anchor.moved(now),
            )
            self._start, self._followed_at = _Start(now, kernel), now.monotonic
        elif start.kernel.tai_offset == 0 != kernel.tai_offset:
            # The time service has set it for the first time, which is no leap second; from now on a change is one.
            self._start = _Start(start.anchor, kernel)

    def moved(self, now: ClockAnchor, leap: LeapSecond | None, kernel: KernelClock | None) -> float:
        """Return by how many seconds the clock was set since the reference, apart from a leap second."""
        self.renew(now, kernel)
        start = self._start
        assert start is not None  # noqa: S101 - renew() has taken it
        if leap is not None:
            return leap.moved(start.anchor, now)
        return start.anchor.moved(now) + _made_leaps(start.kernel, kernel)

    def follow(self, now: ClockAnchor, moved: float, drift_ppm: float) -> None:
        """Follow a clock that drifts against the monotonic clock, by `drift_ppm` for the time since the last call."""
        if not self._follows or self._start is None:
            return
        most = max(0.0, now.monotonic - self._followed_at) * drift_ppm * 1e-6
        shift = timedelta(seconds=max(-most, min(moved, most)))
        anchor, kernel = self._start
        self._start = _Start(anchor._replace(time=anchor.time + shift), kernel)
        self._followed_at = now.monotonic


def judge_unmonitored(
    reference: ClockReference | None,
    now: ClockAnchor,
    *,
    allowed: timedelta,
    drift_ppm: float,
    leap: LeapSecond | None,
    kernel: KernelClock | None,
    until: float,
) -> Judgement:
    """Return the state of a clock that no monitor watches; it is stepped when it was set by more than `allowed`."""
    if reference is not None:
        moved = reference.moved(now, leap, kernel)
        if abs(moved) > max(allowed.total_seconds(), _LEAST_STEP_SECONDS):
            return Judgement(state=ClockState.STEPPED, reason=_SET, until=until)
        reference.follow(now, moved, drift_ppm)
    unsynchronised = kernel is not None and not kernel.synchronised
    reason = f"{UNMONITORED}, and {_KERNEL_UNSYNCHRONISED}" if unsynchronised else UNMONITORED
    return Judgement(state=ClockState.UNMONITORED, reason=reason, until=until)


def _made_leaps(before: KernelClock | None, now: KernelClock | None) -> int:
    """Return the seconds that leap seconds took from the clock: the kernel counts them in its TAI offset."""
    return now.tai_offset - before.tai_offset if before and now else 0


class _SystemWallClock(Clock):
    def now(self) -> TimeReading:
        return TimeReading(datetime.now(UTC))


@cache
def system_reference() -> ClockReference:
    """Return the reference of the system's clock; processes that are forked later share its instant."""
    return ClockReference(of_system=True)


def renew_system_reference() -> None:
    """Take that reference if it is time, in a parent, so that the processes that it forks later have it."""
    system_reference().renew(ClockAnchor.take(_SystemWallClock()), read_kernel_clock())
