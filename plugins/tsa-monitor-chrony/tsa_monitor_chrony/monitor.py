"""The chrony monitor: looks at chronyd's own estimate in the background."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from tsa_core.api import Clock, ClockAnchor, ClockError, ClockMonitor, ClockVerdict, TimeSourceReport
from tsa_monitor_chrony.chronyc import Chronyc, ChronydSilent, Tracking
from tsa_monitor_chrony.options import ChronyOptions

log = logging.getLogger(__name__)

_STOP_SECONDS = 5.0
_SLACK_SECONDS = 2.0


class ChronyMonitor(ClockMonitor):
    """Believes chronyd, which filters, averages and knows its own uncertainty. Raises ConfigError without chronyc.

    chronyd watches the operating system's clock. Another clock source is compared with that one at every look.
    """

    def __init__(self, options: ChronyOptions) -> None:
        self._options = options
        self._chronyc = Chronyc(options)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._sources: Sequence[TimeSourceReport] = ()
        self._update = ""
        self._anchor: ClockAnchor | None = None
        self._last_look: ClockAnchor | None = None
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
        beside_system = now.time - datetime.now(UTC) - timedelta(seconds=now.monotonic - time.monotonic())
        tracking = self._chronyc.tracking()
        self._sources = self._chronyc.sources()
        anchor = self._anchor_of(tracking, now)
        if tracking.leap is None:
            return self._unknown(started, "the clock's keeper is not synchronised")
        least = self._options.minimum_uncertainty.total_seconds()
        uncertainty = max(least, tracking.root_delay / 2 + tracking.root_dispersion)
        offset = timedelta(seconds=tracking.offset)
        if abs(beside_system) > timedelta(milliseconds=1):
            offset += beside_system
        wrong = abs(offset) > self._options.max_offset
        return ClockVerdict(
            trusted=not wrong,
            reason="the clock is off by more than is allowed" if wrong else "",
            offset=offset,
            uncertainty=timedelta(seconds=uncertainty),
            checked_at=started,
            anchor=anchor,
            valid_for=self._valid_for,
            leap=tracking.leap,
        )

    def _anchor_of(self, tracking: Tracking, now: ClockAnchor) -> ClockAnchor:
        """Return the clock at a time before chronyd's last measurement.

        chronyd's estimate knows nothing of a step after its measurement, so the gate must compare with the clock of
        before. That measurement was made since the look before this one.
        """
        if self._anchor is None or tracking.updated_at != self._update:
            self._anchor = self._last_look or now
            self._update = tracking.updated_at
        self._last_look = now
        return self._anchor

    def _unknown(self, started: float, reason: str) -> ClockVerdict:
        return ClockVerdict(trusted=False, measured=False, reason=reason, checked_at=started, valid_for=self._valid_for)

    def _publish(self, verdict: ClockVerdict, detail: str) -> None:
        if verdict.trusted != self._verdict.trusted or verdict.reason != self._verdict.reason:
            level = logging.INFO if verdict.trusted else logging.WARNING
            log.log(level, "chronyd: %s%s", verdict.reason or "synchronised", f" ({detail})" if detail else "")
        self._verdict = verdict
