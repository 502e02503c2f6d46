"""Keeps one profile from taking all threads of a server that queues requests itself, as granian does.

A profile whose signer waits for a backend may have `[server] threads` signatures in progress, and as many requests
waiting for their turn; more are refused at once, and one that waits longer than `queue_timeout` is refused, too. There
are more threads than that, so other profiles, /ping and /healthz always find one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from tsa_core.api import RequestRejected
from tsa_core.config import ServerSettings
from tsa_core.http.signer_pools import ENTER
from tsa_core.http.timestamp import BUSY

_SPARE_THREADS = 4

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def threads_needed(settings: ServerSettings, waiting_profiles: int) -> int:
    """Return how many threads a process needs, for so many profiles whose signers wait."""
    return 2 * settings.threads * waiting_profiles + _SPARE_THREADS if waiting_profiles else 1


def _busy() -> RequestRejected:
    return RequestRejected(BUSY.failure, BUSY.text)


class _Share:
    """The threads of one profile: those that sign, and those that wait to."""

    def __init__(self, settings: ServerSettings) -> None:
        self._places = threading.Semaphore(2 * settings.threads)
        self._turns = threading.Semaphore(settings.threads)
        self._longest_seconds = settings.queue_timeout.total_seconds()

    def take(self) -> None:
        """Wait for a turn; raises RequestRejected when that takes too long or too many wait already."""
        if not self._places.acquire(blocking=False):
            raise _busy()
        if not self._turns.acquire(timeout=self._longest_seconds):
            self._places.release()
            raise _busy()

    def give_back(self) -> None:
        """Let the next one have the turn."""
        self._turns.release()
        self._places.release()


class ThreadShares:
    """A WSGI application around another one, whose requests take shares by profile."""

    def __init__(self, app: Application, settings: ServerSettings) -> None:
        self._app = app
        self._settings = settings
        self._shares: dict[str, _Share] = {}
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        taken: list[_Share] = []

        def enter(name: str) -> None:
            share = self._share(name)
            share.take()
            taken.append(share)

        environ[ENTER] = enter
        try:
            return self._app(environ, start_response)
        finally:
            for share in taken:
                share.give_back()

    def _share(self, name: str) -> _Share:
        with self._lock:
            if name not in self._shares:
                self._shares[name] = _Share(self._settings)
            return self._shares[name]
