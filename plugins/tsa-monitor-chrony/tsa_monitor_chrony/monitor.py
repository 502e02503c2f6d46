"""The chrony monitor: looks at chronyd's sources in the background."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from tsa_core.api import Clock, ClockAnchor, ClockError, ClockMonitor, ClockVerdict, TimeSourceReport
from tsa_monitor_chrony.bound import bound_of, counts
from tsa_monitor_chrony.chronyc import Chronyc, ChronydSilent, Source
from tsa_monitor_chrony.looks import Looks
from tsa_monitor_chrony.options import ChronyOptions

log = logging.getLogger(__name__)

_STOP_SECONDS = 5.0
_SLACK_SECONDS = 2.0
_SAME_SECONDS = 0.001
_STATES = {
    "*": "selected",
    "+": "combined",
    "-": "not combined",
    "?": "not usable",
    "x": "may be wrong",
    "~": "too variable",
}


class ChronyMonitor(ClockMonitor):
    """Believes what most of chronyd's sources cover. Raises ConfigError without chronyc.

    chronyd watches the operating system's clock. Another clock source is compared with that one at every look.
    """

    def __init__(self, options: ChronyOptions) -> None:
        self._options = options
        self._chronyc = Chronyc(options)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._sources: Sequence[TimeSourceReport] = ()
        self._looks = Looks()
        longest = options.period.total_seconds() + 2 * options.timeout.total_seconds()
        self._valid_for = timedelta(seconds=longest + max(_SLACK_SECONDS, longest / 2))
        self._verdict = ClockVerdict(trusted=False, measured=False, reason="chronyd has not been asked yet")

    # -- the contract -------------------------------------------------------------------------------------------

    def start(self, clock: Clock) -> None:
        """Take the first look at once."""
        self._thread = threading.Thread(target=self._run, args=(clock,), name="chrony-monitor", daemon=True)
        self._thread.start()

    def verdict(self) -> ClockVerdict:
        """Return the verdict of the last look."""
        return self._verdict

    def sources(self) -> Sequence[TimeSourceReport]:
        """Return chronyd's sources as of the last look."""
        return self._sources

    @property
    def period(self) -> timedelta:
        """The time between two looks; in between, chronyd's own estimate is not known."""
        return self._options.period

    def stop(self) -> None:
        """End the watch."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)

    # -- looks --------------------------------------------------------------------------------------------------

    def _run(self, clock: Clock) -> None:
        period = self._options.period.total_seconds()
        while not self._stopping.is_set():
            started = time.monotonic()
            detail = ""
            try:
                verdict = self._look(clock, started)
            except ChronydSilent as error:
                detail = str(error)
                self._sources = ()
                verdict = self._unknown(started, "the clock's keeper does not answer")
            except ClockError as error:
                verdict = self._unknown(started, str(error))
            except Exception:
                log.exception("a look at chronyd failed")
                verdict = self._unknown(started, "the clock could not be compared with its keeper's estimate")
            if self._stopping.is_set():
                return
            self._publish(verdict, detail)
            self._stopping.wait(max(0.0, started + period - time.monotonic()))

    def _look(self, clock: Clock, started: float) -> ClockVerdict:
        now = ClockAnchor.take(clock)
        self._looks.note(now)
        beside, beside_error = _beside_system(now)
        report = self._chronyc.report()
        least = self._options.minimum_uncertainty.total_seconds()
        bound = bound_of(report, self._looks, now, least=least)
        agreed = bound.agreed
        members = {bound.heard[place].name for place in agreed.members} if agreed else set()
        self._sources = [_described(each, report.tracking.offset, members) for each in report.sources]
        leap = report.tracking.leap
        if len(bound.heard) < self._options.min_sources:
            reason = "is not synchronised" if leap is None else "hears too few time servers"
            return self._unknown(started, f"the clock's keeper {reason}")
        if agreed is None or agreed.votes < self._options.min_sources:
            return ClockVerdict(
                trusted=False,
                reason="the time servers disagree",
                checked_at=started,
                anchor=bound.anchor,
                valid_for=self._valid_for,
            )
        if leap is None:
            return self._unknown(started, "the clock's keeper is not synchronised")
        offset, uncertainty = bound.offset, bound.uncertainty + beside_error
        if abs(beside) > _SAME_SECONDS:
            offset += beside
        else:
            # Perhaps no more than the time between two readings.
            uncertainty += abs(beside)
        wrong = abs(offset) > self._options.max_offset.total_seconds()
        return ClockVerdict(
            trusted=not wrong,
            reason="the clock is off by more than is allowed" if wrong else "",
            offset=timedelta(seconds=offset),
            uncertainty=timedelta(seconds=uncertainty),
            checked_at=started,
            anchor=bound.anchor,
            valid_for=self._valid_for,
            leap=leap,
            basis=_basis([bound.heard[place] for place in agreed.members]),
        )

    def _unknown(self, started: float, reason: str) -> ClockVerdict:
        return ClockVerdict(trusted=False, measured=False, reason=reason, checked_at=started, valid_for=self._valid_for)

    def _publish(self, verdict: ClockVerdict, detail: str) -> None:
        if verdict.trusted != self._verdict.trusted or verdict.reason != self._verdict.reason:
            level = logging.INFO if verdict.trusted else logging.WARNING
            log.log(level, "chronyd: %s%s", verdict.reason or "synchronised", f" ({detail})" if detail else "")
        self._verdict = verdict


def _beside_system(now: ClockAnchor) -> tuple[float, float]:
    """Return by how many seconds the clock of `now` is ahead of the system's, and how far off that may be."""
    before = time.monotonic()
    system = datetime.now(UTC)
    after = time.monotonic()
    return ClockAnchor(system, (before + after) / 2).moved(now), (after - before) / 2 + now.error


def _basis(sources: Sequence[Source]) -> str:
    """Return what the bound rests on, for the audit trail: names of reference clocks, and the number of servers."""
    clocks = [source.name for source in sources if source.refclock]
    servers = len(sources) - len(clocks)
    parts = [f"reference clocks {', '.join(clocks)}"] if clocks else []
    return f"chronyd: {'; '.join([*parts, f'{servers} time servers'] if servers or not clocks else parts)}"


def _described(source: Source, correction: float, members: set[str]) -> TimeSourceReport:
    """Return a source as `timestamp-server clock` shows it; `correction` is the system clock minus chronyd's."""
    kind = ", reference clock" if source.refclock else ""
    if not source.recent:
        return TimeSourceReport(name=source.name, outcome=f"no answer{kind}", address=source.name)
    return TimeSourceReport(
        name=source.name,
        outcome=f"{_STATES.get(source.state, source.state)}{kind}",
        used=source.name in members if counts(source) else None,
        address=source.name,
        stratum=source.stratum,
        offset=timedelta(seconds=source.offset + correction),
        uncertainty=timedelta(seconds=source.error + source.age * source.growth),
    )
