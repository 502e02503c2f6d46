"""Limits the threads that one profile may use, in a server that queues requests itself, as granian does.

A profile whose signer waits for a backend may have `[server] threads` signatures in progress, and as many requests that
wait for one. Further requests are refused at once, and one that has waited longer than `queue_timeout` is refused too.
The server has more threads than that, so one is always free for other profiles, /ping and /healthz. The paths of a
plugin are limited as a profile is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from tsa_core.api import RequestRejected
from tsa_core.config import ServerSettings
from tsa_core.http.thread_pools import ENTER
from tsa_core.http.timestamp import BUSY

_SPARE_THREADS = 4

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def threads_needed(settings: ServerSettings, waiting_profiles: int) -> int:
    """Return how many threads a process needs; `waiting_profiles` counts what has limits, see above."""
    return 2 * settings.threads * waiting_profiles + _SPARE_THREADS if waiting_profiles else 1


def _busy() -> RequestRejected:
    return RequestRejected(BUSY.failure, BUSY.text)


class _ProfileLimit:
    """The threads of one profile: those that sign, and those that wait for that."""

    def __init__(self, settings: ServerSettings) -> None:
        self._places = threading.Semaphore(2 * settings.threads)
        self._turns = threading.Semaphore(settings.threads)
        self._queue_seconds = settings.queue_timeout.total_seconds()

    def acquire(self) -> None:
        """Wait until the profile may sign once more; raises RequestRejected when too many wait, or after too long."""
        if not self._places.acquire(blocking=False):
            raise _busy()
        if not self._turns.acquire(timeout=self._queue_seconds):
            self._places.release()
            raise _busy()

    def release(self) -> None:
        """Let the next request sign."""
        self._turns.release()
        self._places.release()


class ThreadLimits:
    """WSGI middleware that applies the limit of its profile to each request."""

    def __init__(self, app: Application, settings: ServerSettings) -> None:
        self._app = app
        self._settings = settings
        self._limits: dict[str, _ProfileLimit] = {}
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        acquired: list[_ProfileLimit] = []

        def enter(name: str) -> None:
            limit = self._limit(name)
            limit.acquire()
            acquired.append(limit)

        environ[ENTER] = enter
        try:
            return self._app(environ, start_response)
        finally:
            for limit in acquired:
                limit.release()

    def _limit(self, name: str) -> _ProfileLimit:
        with self._lock:
            if name not in self._limits:
                self._limits[name] = _ProfileLimit(self._settings)
            return self._limits[name]
