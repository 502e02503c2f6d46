"""A service whose configuration can be exchanged while it answers requests.

A reload has two halves, so that several processes can do the first all, and then the second all: `prepare` opens and
checks the new set beside the one that serves, `commit` puts it in its place in one step. A request is answered by the
set that was there when it began. The old set is closed when its last request has been answered.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from tsa_core.api import ClockMonitor, ConfigError, TsaError
from tsa_core.config import Settings
from tsa_core.service.material import Material
from tsa_core.service.service import Service

log = logging.getLogger(__name__)

Application: TypeAlias = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_FIRST_VERDICTS_SECONDS = 10.0
"""How long a reload waits for new clock monitors, so that they do not begin with refusals."""


_GENERATION = "tsa_core.generation"


class _Generation:
    """The application over one opened set; whoever holds it keeps the set open."""

    __slots__ = ("__weakref__", "application")

    def __init__(self, application: Application) -> None:
        self.application = application


class LiveService:
    """Serves one opened set at a time and exchanges it between two requests; itself a WSGI application.

    `build` makes the application over a service. `prepare`, `commit` and `abort` are for one thread, which is not a
    request's; requests may come from any. Costs 0.1 us per request.
    """

    def __init__(self, service: Service, build: Callable[[Service], Application]) -> None:
        self.service = service
        """The set that serves new requests."""
        self._build = build
        self._generation = _Generation(build(service))
        self.exchanged: Callable[[], None] = lambda: None
        """Called after each commit, for listeners that have something to read anew."""
        self._prepared: tuple[Service, _Generation] | None = None
        self._retiring: list[threading.Thread] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request with the set of this moment."""
        # Held until the reply is made, by the environ where that is after this returns.
        generation = environ[_GENERATION] = self._generation
        return generation.application(environ, start_response)

    def prepare(
        self,
        settings: Settings,
        *,
        material: Material | None = None,
        monitors: Mapping[str, ClockMonitor] | None = None,
    ) -> Service:
        """Open and check a new set beside the one that serves, and return it; nothing changes for requests yet.

        Raises TsaError with a line for the operator when it cannot be used; what was opened for it is closed again.
        """
        self.abort()
        new = Service(settings, material=material, previous=self.service, monitors=monitors)
        try:
            granian = settings.server.engine == "granian" or "https" in settings.server.schemes
            if granian and new.waiting_profiles > self.service.waiting_profiles:
                raise ConfigError(
                    "more signers than before wait for a network, and granian was started with threads for those that "
                    "did; restart the server"
                )
            self._prepared = new, _Generation(self._build(new))
            new.clock.gate.wait_for_monitors(_FIRST_VERDICTS_SECONDS)
        except BaseException:
            self._prepared = None
            new.close()
            raise
        return new

    def commit(self) -> None:
        """Let the prepared set answer all requests that begin from now on, and close the old one when it is idle."""
        assert self._prepared is not None, "prepare() comes first"  # noqa: S101 - a mistake of ours
        old_service, old_generation = self.service, self._generation
        self.service, self._generation = self._prepared
        self._prepared = None
        try:
            self.service.start()
        except TsaError as error:
            log.warning("the new configuration serves, but: %s", error)
        try:
            self.exchanged()
        except TsaError as error:
            log.warning("the new configuration serves, but: %s", error)
        self.service.audit_exchange(old_service)
        idle = threading.Event()
        weakref.finalize(old_generation, idle.set).atexit = False
        del old_generation
        thread = threading.Thread(target=_retire, args=(old_service, idle), name="retire", daemon=True)
        self._retiring = [each for each in self._retiring if each.is_alive()] + [thread]
        thread.start()

    def abort(self) -> None:
        """Close a set that was prepared and shall not serve."""
        if self._prepared is not None:
            service, _ = self._prepared
            self._prepared = None
            service.close()

    def close(self) -> None:
        """Close everything; called when no request is in progress any more."""
        self.abort()
        for thread in self._retiring:
            thread.join(1.0)
        self.service.close()


def _retire(service: Service, idle: threading.Event) -> None:
    """Close a set when its last request has been answered, or when none can be in progress any more."""
    longest = max(profile.sign_timeout for profile in service.authority.profiles.values())
    if not idle.wait(longest + service.settings.server.graceful_timeout.total_seconds()):
        log.warning("requests of the configuration before the reload are still in progress; its plugins are closed")
    service.close()
    log.debug("the configuration before the reload is closed")
