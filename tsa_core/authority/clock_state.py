"""The state of the clock, computed from the monitors' verdicts at one instant. No I/O and no threads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from tsa_core.api import ClockAnchor, ClockVerdict
from tsa_core.authority.leap import LeapSecond
from tsa_core.config import ClockSettings


class ClockState(StrEnum):
    """Whether the clock may date tokens: it may when synchronised, in holdover, or without a monitor."""

    UNMONITORED = "unmonitored"
    """No monitor is configured: the operator is responsible for the clock."""
    SYNCHRONISED = "synchronised"
    HOLDOVER = "holdover"
    """There is no recent measurement, but the last good one still bounds the error."""
    LEAP = "leap"
    """A leap second makes the time ambiguous."""
    STEPPED = "stepped"
    """The clock was set since the last measurement."""
    UNSYNCHRONISED = "unsynchronised"

    @property
    def trusted(self) -> bool:
        """Whether tokens may be issued."""
        return self in _TRUSTED


_TRUSTED = frozenset({ClockState.UNMONITORED, ClockState.SYNCHRONISED, ClockState.HOLDOVER})


@dataclass(frozen=True, kw_only=True)
class ClockStatus:
    """The state of the clock gate, for operators and events.

    `issuing` says whether tokens are issued; `on_failure = "warn"` allows that in any state. `offset` is the clock
    minus true time, if known. `error_bound` is the largest possible error, the offset included. `uncovered` are the
    profiles whose stated accuracy is narrower than that. `basis` says what the offset was measured against.
    """

    state: ClockState
    issuing: bool
    reason: str = ""
    offset: timedelta | None = None
    error_bound: timedelta | None = None
    uncovered: tuple[str, ...] = ()
    basis: str = ""

    @property
    def healthy(self) -> bool:
        """Whether the clock lets every profile issue."""
        return self.issuing and not self.uncovered

    @property
    def facts(self) -> Mapping[str, str]:
        """The same as texts, for the audit trail; what is not known is left out."""
        facts = {"state": self.state.value, "issuing": str(self.issuing).lower(), "reason": self.reason}
        if self.offset is not None:
            facts["offset_seconds"] = f"{self.offset.total_seconds():.6f}"
        if self.error_bound is not None:
            facts["error_bound_seconds"] = f"{self.error_bound.total_seconds():.6f}"
        if self.basis:
            facts["measured_by"] = self.basis
        if self.uncovered:
            facts["uncovered_profiles"] = ",".join(self.uncovered)
        return facts


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What one monitor's verdict means now, in seconds. `until` is the monotonic time up to which that is valid."""

    state: ClockState
    reason: str = ""
    offset: float | None = None
    error_bound: float | None = None
    basis: str = ""
    until: float


class MonitorHistory:
    """Stores a monitor's last verdict, and its last good one for holdover."""

    def __init__(self) -> None:
        self.verdict: ClockVerdict | None = None
        self._anchor: ClockAnchor | None = None
        self._good: tuple[ClockVerdict, ClockAnchor] | None = None

    def take(self, verdict: ClockVerdict, now: ClockAnchor) -> None:
        """Store the monitor's current verdict."""
        if verdict is self.verdict:
            return
        # Without an anchor, the monitor is taken to have measured when its verdict was first seen.
        self._anchor = verdict.anchor or now
        self.verdict = verdict
        if verdict.trusted:
            self._good = verdict, self._anchor
        elif verdict.measured:
            # The clock was found wrong, so an earlier good measurement does not justify holdover.
            self._good = None

    def measured_after(self, leap: LeapSecond) -> bool:
        """Whether the last good measurement was made after the leap second."""
        return self._good is not None and leap.is_past(self._good[1])

    def judge(self, now: ClockAnchor, settings: ClockSettings, leap: LeapSecond | None) -> Judgement:
        """Return what the verdict means at `now`."""
        verdict, anchor = self.verdict, self._anchor
        assert verdict is not None  # noqa: S101 - take() comes first
        assert anchor is not None  # noqa: S101 - as above
        stands = (verdict.checked_at or anchor.monotonic) + (
            verdict.valid_for or settings.max_verdict_age
        ).total_seconds()
        if now.monotonic > stands:
            return _closed("a clock monitor has stopped working", stands)
        if verdict.trusted:
            return self._judge_good(verdict, anchor, now, settings, leap, until=stands)
        if verdict.measured or self._good is None:
            return _closed(verdict.reason, stands)
        good, anchor = self._good
        end = (good.checked_at or anchor.monotonic) + settings.max_holdover.total_seconds()
        if now.monotonic > end:
            return _closed(f"{verdict.reason}, for longer than this service relies on its clock alone", stands)
        judged = self._judge_good(good, anchor, now, settings, leap, until=min(stands, end))
        if judged.state is not ClockState.SYNCHRONISED:
            return judged
        return Judgement(
            state=ClockState.HOLDOVER,
            reason=verdict.reason,
            offset=judged.offset,
            error_bound=judged.error_bound,
            basis=judged.basis,
            until=judged.until,
        )

    @staticmethod
    def _judge_good(
        good: ClockVerdict,
        anchor: ClockAnchor,
        now: ClockAnchor,
        settings: ClockSettings,
        leap: LeapSecond | None,
        *,
        until: float,
    ) -> Judgement:
        if good.offset is None and good.anchor is None:
            # Without a measurement, a step of the clock invalidates nothing.
            return Judgement(state=ClockState.SYNCHRONISED, until=until)
        moved = leap.moved(anchor, now) if leap else anchor.moved(now)
        if abs(moved) > settings.step_threshold.total_seconds():
            reason = "the clock was set and has not been compared with others since"
            return Judgement(state=ClockState.STEPPED, reason=reason, until=until)
        if good.offset is None:
            return Judgement(state=ClockState.SYNCHRONISED, until=until)
        offset = good.offset.total_seconds() + moved
        uncertainty = (good.uncertainty.total_seconds() if good.uncertainty else 0.0) + anchor.error + now.error
        age = now.monotonic - (good.checked_at or anchor.monotonic)
        aged = max(0.0, age) * settings.drift_ppm * 1e-6
        bound = abs(offset) + uncertainty + aged
        return Judgement(state=ClockState.SYNCHRONISED, offset=offset, error_bound=bound, basis=good.basis, until=until)


def _closed(reason: str, until: float) -> Judgement:
    return Judgement(state=ClockState.UNSYNCHRONISED, reason=reason, until=until)


_SEVERITY = tuple(ClockState)


def combine(judgements: list[Judgement]) -> Judgement:
    """Return the judgement of all monitors: the worst state, the widest bound, the shortest validity."""
    state = max((judged.state for judged in judgements), key=_SEVERITY.index)
    reasons = dict.fromkeys(judged.reason for judged in judgements if judged.state is state and judged.reason)
    measured = [judged for judged in judgements if judged.error_bound is not None]
    widest = max(measured, key=lambda judged: judged.error_bound or 0.0, default=None)
    return Judgement(
        state=state,
        reason="; ".join(reasons),
        offset=widest.offset if widest else None,
        error_bound=widest.error_bound if widest else None,
        basis="; ".join(dict.fromkeys(judged.basis for judged in judgements if judged.basis)),
        until=min(judged.until for judged in judgements),
    )
