"""Serves with granian, which starts the worker processes itself."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Mapping
from multiprocessing.util import Finalize
from typing import Any

from tsa_core.api import Signer
from tsa_core.config import Settings
from tsa_core.hosting.facts import describe
from tsa_core.hosting.granian.listeners import GranianListeners
from tsa_core.hosting.granian.server import serve_granian
from tsa_core.hosting.strategy import ServeJob, Started, freeze_startup_objects
from tsa_core.hosting.workers.plan import WorkerPlans

log = logging.getLogger(__name__)

_BEHIND_A_PROXY = (
    "--server granian serves plain HTTP only behind a proxy that reads whole requests first, as nginx does: a client "
    "whose body does not arrive holds a thread for as long as it likes. For clients themselves use waitress, or "
    "--scheme https"
)

_HTTP2_BEHIND_A_PROXY = (
    "nothing limits how many HTTP/2 requests a client of that address asks for and cancels, and each is worked on: let "
    "nobody but the proxy reach it, or leave http2 to --scheme https"
)


class Granian:
    """The strategy for `--server granian` with a plain socket: granian's workers answer the requests.

    Their own server has the first plain socket. granian embedded in each worker has the other ones and those for TLS.
    """

    def __init__(self, job: ServeJob) -> None:
        self._job = job
        self._plans = WorkerPlans(job.settings, describe)

    def run(self, started: Started) -> None:
        """Serve until SIGTERM or SIGINT."""
        job, plans = self._job, self._plans
        serve_granian(
            job.settings.server,
            listening=job.listeners.plain[0],
            open_app=self._open_app,
            started=plans.then_accept_reloads(started, job.read_again, job.pid_file),
            waiting_profiles=_count_waiting_profiles(job.settings, plans.shared),
            hung_up=plans.request,
        )

    def announced(self) -> None:
        """Begin to carry out reloads, in a thread, and warn of clients that reach this address without a proxy."""
        self._plans.run_in_thread()
        log.warning("%s", _BEHIND_A_PROXY)
        if self._job.settings.server.http2:
            log.warning("%s", _HTTP2_BEHIND_A_PROXY)

    def _open_app(self, slot: int) -> tuple[Callable[..., Any], Mapping[str, object]]:
        """In a worker: open the service, start the other listeners, return the application and what to report."""
        job = self._job
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        live = self._plans.open_live(job.build_app)
        job.observability.follow(lambda: live.service)
        # Finalize, because granian's workers are multiprocessing's, which end without a call to atexit's functions.
        # The lowest priority is called last.
        Finalize(None, live.close, exitpriority=1)
        Finalize(None, job.observability.flush, exitpriority=2)
        others = GranianListeners(
            live,
            job.settings.server,
            tls=job.listeners.tls,
            plain=job.listeners.plain[1:],
            waiting_profiles=live.service.waiting_profiles,
            slot=slot,
        )
        others.start()
        live.on_commit = others.reload_certificates
        Finalize(others, others.stop, exitpriority=10)
        job.serve_profiling()
        freeze_startup_objects()
        return live, describe(live.service)

    def close(self) -> None:
        """Close what the workers were started with."""
        self._plans.close()


def _count_waiting_profiles(settings: Settings, shared: Mapping[str, Signer]) -> int:
    """Count the profiles whose signers wait for a backend.

    A signer that only workers can open counts too: this process does not know whether it waits.
    """
    return sum(name not in shared or shared[name].latency == "remote" for name in settings.profiles)
