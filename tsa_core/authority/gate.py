"""The clock gate: without trusted time there is no token (rule S1).

For a request, `read` compares the monitors' verdicts with those that it has evaluated, and the wall clock with the
monotonic clock. All else is evaluated when a verdict changes, and once a second. Measured: 0.5 us more than to read the
clock without monitors, 0.9 us with one monitor.
"""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from tsa_core.api import Clock, ClockAnchor, ClockError, ClockMonitor, ClockVerdict, LeapWarning, TimeReading
from tsa_core.authority.clock_announcements import ClockAnnouncements, ClockChange
from tsa_core.authority.clock_plugins import CheckedClock, Monitors
from tsa_core.authority.clock_reference import UNMONITORED, ClockReference, judge_unmonitored
from tsa_core.authority.clock_state import ClockState, ClockStatus, Judgement, MonitorHistory, combine
from tsa_core.authority.clock_steps import StepWatch
from tsa_core.authority.kernel_clock import KernelClock
from tsa_core.authority.leap import LeapSecond, announced_leap, kernel_made_leap
from tsa_core.config import ClockSettings

log = logging.getLogger(__name__)

_HOLDS_SECONDS = 1.0
"""How long an evaluation is used before drift and age are computed again."""
_MOVED_SECONDS = 0.0001
"""A clock that moved less than this against the monotonic clock needs no new evaluation."""
_WATCH_SECONDS = 0.25
_LEAP_MARGIN = timedelta(seconds=5)
_STOP_BEFORE_LEAP = timedelta(minutes=1)
_NEAR_LEAP = "a leap second is near"

_monotonic = time.monotonic
_new_reading = tuple.__new__
"""Makes a TimeReading in half the time that its constructor takes."""


class _Evaluation(NamedTuple):
    """The evaluation that requests use. `seen` has the monitors' methods with the verdicts that were evaluated.

    `until` is 0 when every request has to evaluate again. `failure` is the text of the clock's own error, which the
    requester gets unchanged.
    """

    seen: tuple[tuple[Callable[[], ClockVerdict], ClockVerdict], ...]
    error_bound: timedelta | None
    time: datetime
    monotonic: float
    until: float
    status: ClockStatus
    failure: str | None = None


class ClockGate:
    """Reads the clock for tokens as long as it can be trusted. Thread-safe; `read` does no I/O.

    `kernel` returns what the operating system knows of its clock, when that is the clock in use. Without monitors, the
    clock may not move against `reference` by more than the narrowest accuracy that is promised. Before `start`, the
    thread that notices a change of state calls the listeners. Afterwards a thread of the gate does, which also notices
    changes while there are no requests. `names` are what the log calls the clock and then each monitor.
    """

    def __init__(
        self,
        clock: Clock,
        monitors: Sequence[ClockMonitor] = (),
        *,
        settings: ClockSettings | None = None,
        kernel: Callable[[], KernelClock | None] | None = None,
        reference: ClockReference | None = None,
        names: Sequence[str] = (),
    ) -> None:
        self.clock = clock
        self.settings = settings or ClockSettings()
        names = names or ("the clock", *("a clock monitor" for _ in monitors))
        self.checked = CheckedClock(clock, names[0])
        """The clock, which raises ClockError whatever its plugin does wrong."""
        # The system clock, of the core itself, is read without a look at each reading: that would cost as much again.
        self._now = self.checked.now if kernel is None else clock.now
        self._monitors = Monitors(monitors, names[1:])
        self._verdicts = self._monitors.methods
        self._histories = tuple(MonitorHistory() for _ in monitors)
        self._kernel = kernel
        self._kernel_state: KernelClock | None = None
        self._reference = None if monitors else reference
        self._tai_offset: int | None = None
        self._leap: LeapSecond | None = None
        self._promises: dict[str, timedelta] = {}
        self._widest: dict[str, timedelta] = {}
        self._lock = threading.Lock()
        self._steps = StepWatch()
        self.announcements = ClockAnnouncements()
        """Who is told of changes of the state and of steps of the clock."""
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._watches = False
        self._watcher: threading.Thread | None = None
        initial = ClockState.UNSYNCHRONISED if monitors else ClockState.UNMONITORED
        reason = "the clock has not been compared with others yet" if monitors else UNMONITORED
        status = ClockStatus(state=initial, issuing=not monitors, reason=reason)
        # Without all three nothing can close the gate, so its first evaluation holds for ever.
        self._closes = bool(monitors) or kernel is not None or reference is not None
        self._held = _Evaluation((), None, datetime.now(UTC), 0.0, 0.0 if self._closes else float("inf"), status)

    # -- for requests -------------------------------------------------------------------------------------------

    def read(self) -> TimeReading:
        """Return the time, with the bound of its error when one is known.

        Raises ClockError with a text for the requester when the clock cannot be trusted.
        """
        seen, error_bound, then, monotonic, until, _, _ = self._held
        try:
            for verdict, known in seen:
                if verdict() is not known:
                    break
            else:
                before = _monotonic()
                reading = self._now()
                now = _monotonic()
                if now < until:
                    if not self._closes:
                        return reading
                    # The clock was read at some moment between the two: a pause there must not hide a step.
                    passed = (reading[0] - then).total_seconds() + monotonic
                    if passed - now > -_MOVED_SECONDS and passed - before < _MOVED_SECONDS:
                        return reading if error_bound is None else _new_reading(TimeReading, (reading[0], error_bound))
        except BaseException:  # noqa: BLE001 - the evaluation calls the plugin again and reports its failure
            return self._read_anew()
        return self._read_anew()

    def _read_anew(self) -> TimeReading:
        held = self._evaluate() if self._closes else self._held
        if not held.status.issuing:
            raise ClockError(held.failure or f"the time cannot be trusted now: {held.status.reason}")
        if held.error_bound is not None:
            # Return the reading that was evaluated: before a later one the clock may have been stepped.
            return TimeReading(held.time, held.error_bound)
        reading = self.checked.now()
        if self._leap and self._closed_for_leap(self._leap, reading.time):
            raise ClockError(f"the time cannot be trusted now: {_NEAR_LEAP}")
        # As above, the time that was evaluated.
        return reading if self._reference is None else TimeReading(held.time, reading.uncertainty)

    # -- for profiles, operators and listeners ------------------------------------------------------------------

    def promise(self, profile: str, accuracy: timedelta | None, *, widest: timedelta | None = None) -> None:
        """Store the accuracy that a profile's tokens state: the gate closes when the clock can keep none.

        `widest` is what they may state at most where `widen_accuracy` is on.
        """
        with self._lock:
            if widest is not None:
                self._widest[profile] = widest
            if accuracy is None:
                self._promises.pop(profile, None)
            else:
                self._promises[profile] = accuracy

    def continue_from(self, before: ClockGate) -> None:
        """Take over the measurements, leap second and state of the same clock from the gate before a reload."""
        if before.clock != self.clock:
            return
        with before._lock:
            known = dict(zip(before._verdicts, before._histories, strict=True))
            self._histories = tuple(
                copy.copy(known.get(verdict, history))
                for verdict, history in zip(self._verdicts, self._histories, strict=True)
            )
            self._leap, self._tai_offset = before._leap, before._tai_offset
            self._steps.continue_from(before._steps)
            if self._reference is not None and before._reference is not None:
                self._reference = before._reference
            if self._closes and before._closes:
                self._held = self._held._replace(status=before._held.status)

    def status(self) -> ClockStatus:
        """Return the current state."""
        self._ensure_watching()
        # A clock that waits is read by the thread that watches, and not by the one that asks.
        return self._held.status if self.clock.latency == "remote" and self._is_watching() else self._evaluate().status

    def verdicts(self) -> list[ClockVerdict]:
        """Return the monitors' last verdicts, to be shown."""
        return [self._monitors.read(verdict) for verdict in self._verdicts]

    def subscribe(self, listener: Callable[[ClockChange], None]) -> None:
        """Call `listener` for every change of state; an exception of its is logged."""
        self.announcements.of_changes.append(listener)

    def wait_for_monitors(self, timeout: float) -> bool:
        """Wait until every monitor has given a first verdict; return whether all did within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not all(verdict.checked_at for verdict in self.verdicts()):
            if time.monotonic() >= deadline:
                return False
            self._stopping.wait(0.02)
        return True

    def start(self) -> None:
        """Watch for changes of state in the background until `stop`."""
        self._watches = self._closes
        self._ensure_watching()

    def stop(self, *, seconds: float = 5.0) -> None:
        """Stop watching, and wait for the end of that, `seconds` at most; may be called more than once."""
        self._stopping.set()
        self._wake.set()
        if self._watcher is not None:
            self._watcher.join(seconds)

    def _is_watching(self) -> bool:
        return self._watcher is not None and self._watcher.is_alive()

    def _ensure_watching(self) -> None:
        """Start the thread that watches unless it runs; without one, the threads that evaluate tell the listeners."""
        if not self._watches or self._is_watching() or self._stopping.is_set():
            return
        watcher = threading.Thread(target=self._watch, name="clock-gate", daemon=True)
        try:
            watcher.start()
        except (RuntimeError, MemoryError) as error:
            log.error("the clock is not watched between requests: %s", error)  # noqa: TRY400 - no traceback
        else:
            self._watcher = watcher

    def _watch(self) -> None:
        while not self._stopping.is_set():
            try:
                self._evaluate()
                self.announcements.deliver()
            except Exception:
                log.exception("the clock gate's watch failed; it goes on")
            self._wake.wait(_WATCH_SECONDS)
            self._wake.clear()

    # -- evaluation ---------------------------------------------------------------------------------------------

    def _evaluate(self) -> _Evaluation:
        """Compute the state, and store a change of it."""
        with self._lock:
            previous = self._held
            try:
                now = ClockAnchor.take(self.checked)
            except ClockError as error:
                reason = str(error)
                status = ClockStatus(state=ClockState.UNSYNCHRONISED, issuing=False, reason=reason)
                held = _Evaluation((), None, datetime.now(UTC), 0.0, 0.0, status, reason)
            else:
                held = self._evaluate_at(now)
                if step := self._steps.look(now):
                    self.announcements.put(step)
            if self._closes:
                self._held = held
                if _differs(previous.status, held.status):
                    self.announcements.put(ClockChange(previous.status, held.status, held.time))
        if self.announcements:
            if not self._is_watching():
                self.announcements.deliver()
            else:
                self._wake.set()
        return held

    def _evaluate_at(self, now: ClockAnchor) -> _Evaluation:
        seen = tuple((verdict, self._monitors.read(verdict)) for verdict in self._verdicts)
        for history, (_, verdict) in zip(self._histories, seen, strict=True):
            history.take(verdict, now)
        self._note_leap([verdict.leap for _, verdict in seen], now)
        if self._histories:
            judged = combine([history.judge(now, self.settings, self._leap) for history in self._histories])
        else:
            judged = judge_unmonitored(
                self._reference,
                now,
                allowed=min(self._promises.values(), default=self.settings.step_threshold),
                drift_ppm=self.settings.drift_ppm,
                leap=self._leap,
                kernel=self._kernel_state,
                until=now.monotonic + _HOLDS_SECONDS,
            )
        if self._leap and judged.state.trusted and self._closed_for_leap(self._leap, now.time):
            judged = Judgement(state=ClockState.LEAP, reason=_NEAR_LEAP, until=now.monotonic)
        until = min(judged.until, now.monotonic + _HOLDS_SECONDS)
        bound = None
        if judged.error_bound is not None:
            # The error that may arise until the next evaluation is included.
            ahead = _HOLDS_SECONDS * self.settings.drift_ppm * 1e-6 + _MOVED_SECONDS
            bound = timedelta(seconds=judged.error_bound + ahead)
        status = self._status(judged, bound)
        fast = status.issuing and (judged.state.trusted or not seen) and not self._leap_is_near(now)
        return _Evaluation(
            seen=seen,
            error_bound=bound if judged.state.trusted else None,
            time=now.time,
            monotonic=now.monotonic,
            until=until if fast else 0.0,
            status=status,
        )

    def _status(self, judged: Judgement, bound: timedelta | None) -> ClockStatus:
        state, reason = judged.state, judged.reason
        uncovered: tuple[str, ...] = ()
        if state.trusted and bound is not None:
            limits = self._widest if self.settings.widen_accuracy else self._promises
            uncovered = tuple(sorted(name for name, accuracy in limits.items() if accuracy < bound))
            if uncovered and len(uncovered) == len(self._promises):
                state = ClockState.UNSYNCHRONISED
                reason = "the clock may be off by more than the accuracy that timestamps state here"
        unmonitored_warn = not self._histories and self.settings.unmonitored_step == "warn"
        warn = (self.settings.on_failure == "warn" or unmonitored_warn) and state is not ClockState.LEAP
        return ClockStatus(
            state=state,
            issuing=state.trusted or warn,
            reason=reason,
            offset=None if judged.offset is None else timedelta(seconds=judged.offset),
            error_bound=bound,
            uncovered=() if warn else uncovered,
            basis=judged.basis,
        )

    # -- leap seconds -------------------------------------------------------------------------------------------

    def _note_leap(self, warnings: list[LeapWarning], now: ClockAnchor) -> None:
        """Store a leap second that monitors or kernel announce; remove one that is over or withdrawn."""
        kernel = self._kernel_state = self._kernel() if self._kernel else None
        told = [*warnings, kernel.leap] if kernel else warnings
        made = None
        if kernel:
            if self._tai_offset is not None:
                made = kernel_made_leap(kernel.tai_offset - self._tai_offset, now.time)
            self._tai_offset = kernel.tai_offset
        leap = self._leap
        if leap and now.time > leap.midnight - timedelta(hours=1):
            measured = all(history.measured_after(leap) for history in self._histories)
            since = now.time - leap.midnight
            if (measured and since > _STOP_BEFORE_LEAP) or since > timedelta(days=1):
                self._leap = None
            return
        self._leap = made or announced_leap(told, now.time)

    def _leap_is_near(self, now: ClockAnchor) -> bool:
        leap = self._leap
        return leap is not None and leap.midnight - _STOP_BEFORE_LEAP - _LEAP_MARGIN <= now.time

    def _closed_for_leap(self, leap: LeapSecond, now: datetime) -> bool:
        if self.settings.leap == "ignore":
            return False
        if leap.paused(now):
            return True
        if self.settings.leap == "pause" or now < leap.midnight - _STOP_BEFORE_LEAP:
            return False
        # "stop": until the clock has been measured after the leap second.
        if not self._histories:
            return now < leap.midnight + _STOP_BEFORE_LEAP
        return not all(history.measured_after(leap) for history in self._histories)


def _differs(before: ClockStatus, after: ClockStatus) -> bool:
    return (before.state, before.issuing, before.uncovered) != (after.state, after.issuing, after.uncovered)
