"""Serves with several worker processes behind the same listening sockets."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tsa_core.hosting.answered import Answered
from tsa_core.hosting.balance import WorkerBalances
from tsa_core.hosting.ending import CLOSING_SHARE, WORKER_SLACK_SECONDS, Ending
from tsa_core.hosting.facts import describe
from tsa_core.hosting.heartbeat import WorkerHeartbeats
from tsa_core.hosting.in_process import serve_here
from tsa_core.hosting.notify import notify_watchdog
from tsa_core.hosting.strategy import ServeJob, Started
from tsa_core.hosting.workers.plan import WorkerPlans
from tsa_core.hosting.workers.pool import WorkerPool, exit_code_of_worker
from tsa_core.hosting.workers.watchdog import Watchdog

_ENDING_SLACK_SECONDS = 10.0


def import_for_workers(job: ServeJob) -> None:
    """Import what only answering needs: workers share the memory of what was imported before they were forked."""
    import tsa_core.http.routes

    if job.settings.server.engine == "granian" or job.listeners.tls:
        import tsa_core.hosting.granian.listeners  # noqa: F401


class Workers:
    """The strategy for `workers` above 1: this process starts the workers and replaces those that die."""

    def __init__(self, job: ServeJob) -> None:
        import_for_workers(job)
        self._job = job
        self._plans = WorkerPlans(job.settings, describe)
        self._heartbeats = WorkerHeartbeats(job.settings.server.workers)
        self._balances = WorkerBalances(job.settings.server.workers)

    def run(self, started: Started) -> Answered:
        """Serve until SIGTERM or SIGINT; returns what all workers tell, of whom none had to be killed."""
        job, plans = self._job, self._plans
        server = job.settings.server
        watchdog = Watchdog(
            self._heartbeats,
            seconds=server.worker_timeout.total_seconds(),
            ending_seconds=server.graceful_timeout.total_seconds() + _ENDING_SLACK_SECONDS,
        )
        pool = WorkerPool(
            self._work,
            count=server.workers,
            idle=self._idle,
            hung_up=plans.request,
            told_to_stop=self._begin_end,
            while_ending=job.listeners.turn_away,
            watchdog=watchdog,
        )
        plans.while_waiting(pool.look)
        answered = pool.run(
            plans.then_accept_reloads(started, job.read_again, job.pid_file),
            graceful_seconds=server.graceful_timeout.total_seconds(),
        )
        job.ending.answered = answered
        return answered

    def _begin_end(self) -> None:
        self._job.ending.begin()
        self._plans.end_reload()

    def _idle(self, seconds: float) -> None:
        notify_watchdog()
        self._plans.idle(seconds)

    def announced(self) -> None:
        """Do nothing: the parent carries out reloads while it waits for its workers."""

    def _work(self, report: Callable[[Mapping[str, object]], None], slot: int) -> Answered:
        """In a worker: open the service and serve; returns whether every request was answered."""
        ending = Ending(
            self._job.settings.server.graceful_timeout, slack=WORKER_SLACK_SECONDS, exit_code=exit_code_of_worker
        )
        job = self._job.replace(ending=ending)
        live = self._plans.open_live(job.build_app)
        try:
            return serve_here(
                live,
                job,
                lambda: report(describe(live.service)),
                self._heartbeats.of(slot),
                slot=slot,
                balances=self._balances.of(slot),
            )
        finally:
            live.close(seconds=ending.seconds_left() * CLOSING_SHARE)
            ending.finish()

    def close(self) -> None:
        """Close what the workers were started with."""
        self._plans.close(seconds=self._job.ending.seconds_left() * CLOSING_SHARE)
