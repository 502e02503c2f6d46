"""The monitor of time servers: rounds of questions in the background, and a verdict on each."""

from __future__ import annotations

import json
import logging
import queue
import random
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from tsa_core.api import (
    Clock,
    ClockAnchor,
    ClockError,
    ClockMonitor,
    ClockVerdict,
    ConfigError,
    LeapWarning,
    TimeSourceReport,
    agree,
    cannot_listen,
)
from tsa_core.api.ntp.metrics import metrics_of
from tsa_core.api.ntp.options import RoundOptions
from tsa_core.api.ntp.peer import Peer
from tsa_core.api.ntp.peer_thread import Answers, PeerThread
from tsa_core.api.ntp.query import Sample, TimeServer

log = logging.getLogger(__name__)

_STOP_SECONDS = 5.0
_SLACK_SECONDS = 2.0


class TimeServerMonitor(ClockMonitor):
    """Asks `num_servers` of the servers each period, all at once, and believes what a majority agrees on.

    `kind` names the table of the settings, `[clock.KIND]`, the metrics and the threads; `described` is what the audit
    trail calls the servers. Raises ConfigError for a metrics port that is taken, and for a server that is listed twice.
    """

    def __init__(self, servers: Sequence[TimeServer], options: RoundOptions, *, kind: str, described: str) -> None:
        self._options = options
        self._kind = kind
        self._described = described
        _refuse_two_votes(servers, where=f"clock.{kind}.servers")
        self._metrics = metrics_of(kind)
        self._peers = [Peer(server, options, kind=kind) for server in servers]
        self._reports = self._report_now()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._verdict = ClockVerdict(
            trusted=False, measured=False, reason="the clock has not been compared with time servers yet"
        )
        attempts = options.request_attempts
        pauses = options.attempt_backoff.total_seconds() * (2 ** (attempts - 1) - 1)
        self._round_seconds = attempts * options.request_timeout.total_seconds() + pauses
        longest = options.period.total_seconds() + self._round_seconds
        self._valid_for = timedelta(seconds=longest + max(_SLACK_SECONDS, longest / 2))
        self._threads = [
            PeerThread(peer, self._stopping, late_after=self._round_seconds + _SLACK_SECONDS) for peer in self._peers
        ]
        self._metrics.prepare([peer.name for peer in self._peers])
        self._metrics_server = _serve_metrics(options.metrics_port, kind) if options.metrics_port else None

    # -- the contract -------------------------------------------------------------------------------------------

    def start(self, clock: Clock) -> None:
        """Begin the first round at once."""
        self._thread = threading.Thread(target=self._run, args=(clock,), name=f"{self._kind}-monitor", daemon=True)
        self._thread.start()

    def verdict(self) -> ClockVerdict:
        """Return the verdict of the last round."""
        return self._verdict

    def sources(self) -> Sequence[TimeSourceReport]:
        """Return the last answer of every server, in the configuration's order, as of the round of the verdict.

        An answer of the round that goes on is not there yet: nobody has said whether it is used.
        """
        return self._reports

    def _report_now(self) -> Sequence[TimeSourceReport]:
        return [peer.report for peer in self._peers]

    @property
    def period(self) -> timedelta:
        """The time between two rounds."""
        return self._options.period

    def memory(self) -> str:
        """Return which servers want to be left alone, and until when."""
        return json.dumps({peer.address: penalty for peer in self._peers if (penalty := peer.penalty)})

    def remember(self, memory: str) -> None:
        """Leave alone the servers that said so before a reload, for as long as they said."""
        penalties = json.loads(memory)
        for peer in self._peers:
            if penalty := penalties.get(peer.address):
                peer.penalty = penalty
        self._reports = self._report_now()

    def stop(self) -> None:
        """End the rounds; a question that waits for its answer is given up."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)
        for thread in self._threads:
            thread.stop()
        if self._metrics_server is not None:
            self._metrics_server.shutdown()
            self._metrics_server.server_close()
            self._metrics_server = None

    # -- rounds -------------------------------------------------------------------------------------------------

    def _run(self, clock: Clock) -> None:
        period = self._options.period.total_seconds()
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                verdict = self._round(clock, started)
            except ClockError as error:
                verdict = self._unknown(started, str(error))
            except Exception:
                log.exception("a round of questions to time servers failed")
                verdict = self._unknown(started, "the clock could not be compared with time servers")
            if self._stopping.is_set():
                return
            self._publish(verdict)
            self._stopping.wait(max(0.0, started + period - time.monotonic()))

    def _round(self, clock: Clock, started: float) -> ClockVerdict:
        anchor = ClockAnchor.take(clock)
        asked, answers = self._ask(clock)
        return self._judge(answers, asked=asked, anchor=anchor, started=started)

    def _judge(
        self, answers: Sequence[tuple[Peer, Sample]], *, asked: int, anchor: ClockAnchor, started: float
    ) -> ClockVerdict:
        """Return what the answers of a round say of the clock at `anchor`."""
        threshold = self._options.server_threshold
        names = len(answers)
        answers = _one_of_each(answers)
        limit = self._options.max_time_delta.total_seconds()
        if sum(abs(sample.offset) <= limit for _, sample in answers) < threshold:
            self._metrics.errors.labels(reason="err_inv_time").inc()
        if len(answers) < threshold:
            self._metrics.errors.labels(reason="err_too_few").inc()
            if names >= threshold:
                return self._unknown(started, "too few different time servers answer")
            return self._unknown(
                started, "too few time servers answer" if asked >= threshold else "too few time servers can be asked"
            )
        least = self._options.minimum_uncertainty.total_seconds()
        intervals = []
        for _, sample in answers:
            # All offsets as of the beginning of the round, whatever was done to the clock since.
            middle = sample.offset - anchor.moved(sample.anchor)
            distance = max(sample.distance, least) + anchor.error + sample.anchor.error
            intervals.append((middle - distance, middle + distance))
        agreed = agree(intervals)
        if agreed is None or agreed.votes < threshold:
            self._metrics.errors.labels(reason="err_disagree").inc()
            for peer, _ in answers:
                peer.note_use(False)
            return self._wrong(started, anchor, "the time servers disagree")
        members = [answers[i] for i in agreed.members]
        for i, (peer, _) in enumerate(answers):
            peer.note_use(i in agreed.members)
        offset, uncertainty = timedelta(seconds=agreed.offset), timedelta(seconds=agreed.uncertainty)
        self._metrics.offset.set(agreed.offset)
        self._metrics.uncertainty.set(agreed.uncertainty)
        if abs(agreed.offset) > limit:
            return self._wrong(
                started, anchor, "the clock differs from the time servers by more than is allowed", offset, uncertainty
            )
        return ClockVerdict(
            trusted=True,
            reason="",
            offset=offset,
            uncertainty=uncertainty,
            checked_at=started,
            anchor=anchor,
            valid_for=self._valid_for,
            leap=_majority_leap([sample for _, sample in members]),
            basis=f"{len(members)} of {len(answers)} {self._described}",
        )

    def _ask(self, clock: Clock) -> tuple[int, list[tuple[Peer, Sample]]]:
        """Ask a random choice of servers at once; return how many, and the answers that came in time."""
        free = [thread for thread in self._threads if thread.free() and thread.peer.may_be_asked]
        answered: Answers = queue.SimpleQueue()
        asked = 0
        for thread in random.sample(free, len(free)):
            asked += thread.ask(clock, answered)
            if asked == self._options.num_servers:
                break
        deadline = time.monotonic() + self._round_seconds + _SLACK_SECONDS
        answers = []
        for _ in range(asked):
            try:
                peer, sample = answered.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                # A question hangs in the resolver; its server is asked again when it has come back.
                break
            if sample is not None:
                answers.append((peer, sample))
        return asked, answers

    # -- verdicts -----------------------------------------------------------------------------------------------

    def _unknown(self, started: float, reason: str) -> ClockVerdict:
        return ClockVerdict(trusted=False, measured=False, reason=reason, checked_at=started, valid_for=self._valid_for)

    def _wrong(
        self,
        started: float,
        anchor: ClockAnchor,
        reason: str,
        offset: timedelta | None = None,
        uncertainty: timedelta | None = None,
    ) -> ClockVerdict:
        return ClockVerdict(
            trusted=False,
            reason=reason,
            offset=offset,
            uncertainty=uncertainty,
            checked_at=started,
            anchor=anchor,
            valid_for=self._valid_for,
        )

    def _publish(self, verdict: ClockVerdict) -> None:
        self._reports = self._report_now()
        if verdict.trusted != self._verdict.trusted or verdict.reason != self._verdict.reason:
            answers = "; ".join(f"{report.name}: {_describe(report)}" for report in self._reports)
            level = logging.INFO if verdict.trusted else logging.WARNING
            log.log(level, "time servers: %s (%s)", verdict.reason or "a majority agrees", answers)
        self._metrics.set_state("trusted" if verdict.trusted else "wrong" if verdict.measured else "unknown")
        self._verdict = verdict


def _refuse_two_votes(servers: Sequence[TimeServer], *, where: str) -> None:
    names: dict[str, str] = {}
    for server in servers:
        if (other := names.setdefault(server.address, server.name)) != server.name:
            raise ConfigError(
                f"{other!r} and {server.name!r} are one server, which has one vote; list it once", path=where
            )


def _one_of_each(answers: Sequence[tuple[Peer, Sample]]) -> list[tuple[Peer, Sample]]:
    """Return the most exact answer of each server: several names may lead to one, which has one vote."""
    best: dict[object, tuple[Peer, Sample]] = {}
    for peer, sample in sorted(answers, key=lambda each: each[1].distance):
        place: object = id(sample) if sample.port is None else (sample.address, sample.port)
        if place in best:
            peer.note_another_name(best[place][0].name)
        else:
            best[place] = peer, sample
    return list(best.values())


def _majority_leap(samples: Sequence[Sample]) -> LeapWarning:
    warnings: tuple[LeapWarning, ...] = ("insert", "delete")
    for leap in warnings:
        if 2 * sum(sample.leap == leap for sample in samples) > len(samples):
            return leap
    return "none"


def _describe(report: TimeSourceReport) -> str:
    if report.offset is None:
        return report.outcome
    return f"{report.offset.total_seconds():+.6f} s" + (", not believed" if report.used is False else "")


def _serve_metrics(port: int, kind: str) -> Any:
    from prometheus_client import start_http_server

    try:
        server, _ = start_http_server(port, addr="127.0.0.1")
    except OSError as error:
        raise cannot_listen(
            f"cannot listen on 127.0.0.1:{port}: {error.strerror}", error, path=f"clock.{kind}.metrics_port"
        ) from None
    return server
