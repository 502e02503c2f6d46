"""Serves with several worker processes behind the same listening sockets."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tsa_core.hosting.facts import describe
from tsa_core.hosting.in_process import serve_here
from tsa_core.hosting.strategy import ServeJob, Started
from tsa_core.hosting.workers.plan import WorkerPlans
from tsa_core.hosting.workers.pool import WorkerPool


class Workers:
    """The strategy for `workers` above 1: this process starts the workers and replaces those that die."""

    def __init__(self, job: ServeJob) -> None:
        self._job = job
        self._plans = WorkerPlans(job.settings, describe)

    def run(self, started: Started) -> None:
        """Serve until SIGTERM or SIGINT."""
        job, plans = self._job, self._plans
        pool = WorkerPool(self._work, count=job.settings.server.workers, idle=plans.idle, hung_up=plans.request)
        pool.run(
            plans.then_accept_reloads(started, job.read_again, job.pid_file),
            graceful_seconds=job.settings.server.graceful_timeout.total_seconds(),
        )

    def announced(self) -> None:
        """Do nothing: the parent carries out reloads while it waits for its workers."""

    def _work(self, report: Callable[[Mapping[str, object]], None], slot: int) -> None:
        """In a worker: open the service and serve."""
        live = self._plans.open_live(self._job.build_app)
        try:
            serve_here(live, self._job, lambda: report(describe(live.service)), slot=slot)
        finally:
            live.close()

    def close(self) -> None:
        """Close what the workers were started with."""
        self._plans.close()
