"""One configured time server: its last answer, and when it may be asked again."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tsa_core.api.clock import Clock, TimeSourceReport
from tsa_core.api.ntp.metrics import metrics_of
from tsa_core.api.ntp.options import RoundOptions
from tsa_core.api.ntp.query import KissOfDeath, LeaveAlone, NoUsableAnswer, Sample, TimeServer

_DENIED_SECONDS = 24 * 3600.0
_LONGEST_PENALTY_SECONDS = 6 * 3600.0


class Peer:
    """Asks one server, and obeys when it asks to be left alone.

    Used by one thread at a time, but for `report`.
    """

    def __init__(self, server: TimeServer, options: RoundOptions, *, kind: str) -> None:
        self.name = server.name
        self.kind = kind
        self._server = server
        self._options = options
        self._metrics = metrics_of(kind)
        self.address = server.address
        """What it is known by, however its name is written in the settings."""
        self._not_before = 0.0
        self._penalty_seconds = 0.0
        self._kiss = ""
        self.report = TimeSourceReport(name=self.name, outcome="not asked yet", authenticated=server.authenticated)

    @property
    def may_be_asked(self) -> bool:
        """Whether it is not to be left alone until later, because it has said so or another try would be too early."""
        return time.monotonic() >= self._not_before

    @property
    def penalty(self) -> tuple[float, float, str] | None:
        """Until when (time.monotonic(), the same in all processes) and how long it is left alone, and its words.

        None when it may be asked, or has not said so itself. Assign it to make another Peer obey too.
        """
        if self.may_be_asked or not self._kiss:
            return None
        return self._not_before, self._penalty_seconds, self._kiss

    @penalty.setter
    def penalty(self, penalty: tuple[float, float, str]) -> None:
        self._not_before, self._penalty_seconds, self._kiss = penalty
        if not self.may_be_asked:
            self._report(self._kiss)

    def ask(self, clock: Clock, stopping: threading.Event) -> Sample | None:
        """Ask until there is an answer or no attempt is left."""
        options = self._options
        pause = options.attempt_backoff.total_seconds()
        for attempt in range(options.request_attempts):
            if attempt:
                if stopping.wait(pause):
                    break
                pause *= 2
            started = time.monotonic()
            try:
                sample = self._server.ask(clock, timeout=options.request_timeout.total_seconds())
            except NoUsableAnswer as error:
                self._note_failure(str(error), started)
                if isinstance(error, KissOfDeath | LeaveAlone):
                    self._leave_alone(error)
                    break
                continue
            self._metrics.latency.labels(host=self.name).observe(time.monotonic() - started)
            self._metrics.sync.labels(host=self.name, failed="false").inc()
            self._penalty_seconds = 0.0
            self.report = TimeSourceReport(
                name=self.name,
                outcome="answered",
                address=sample.address,
                stratum=sample.stratum,
                offset=timedelta(seconds=sample.offset),
                uncertainty=timedelta(seconds=sample.distance),
                delay=timedelta(seconds=sample.delay),
                answered_at=datetime.now(UTC),
                authenticated=self._server.authenticated,
            )
            return sample
        return None

    def _note_failure(self, outcome: str, started: float) -> None:
        self._metrics.latency.labels(host=self.name).observe(time.monotonic() - started)
        self._metrics.sync.labels(host=self.name, failed="true").inc()
        self._report(outcome)

    def _report(self, outcome: str) -> None:
        self.report = TimeSourceReport(name=self.name, outcome=outcome, authenticated=self._server.authenticated)

    def _leave_alone(self, error: KissOfDeath | LeaveAlone) -> None:
        if isinstance(error, LeaveAlone):
            # Other settings may mend what is wrong: it is not remembered over a reload.
            self._kiss = ""
            self._not_before = time.monotonic() + error.seconds
            return
        self._kiss = str(error)
        if error.code in {"DENY", "RSTR"}:
            seconds = _DENIED_SECONDS
        else:
            # RATE and what else there may be: less often, and less again when that was not enough.
            again = min(_LONGEST_PENALTY_SECONDS, 2 * self._penalty_seconds)
            seconds = again or 4 * self._options.period.total_seconds()
        self._penalty_seconds = seconds
        self._not_before = time.monotonic() + seconds

    def note_another_name(self, other: str) -> None:
        """Note that the last answer is by the server that another name led to, which has one vote."""
        self.report = replace(self.report, outcome=f"the same server as {other}", used=False)

    def note_use(self, used: bool) -> None:
        """Note whether the last answer is among those that agree."""
        self.report = replace(self.report, used=used)
