"""A service whose configuration can be replaced while it answers requests.

A reload has two phases. `prepare` opens and checks the new service beside the current one. `commit` replaces the
current one in one step. So several processes can all prepare before the first one commits. A request is answered by the
service that was current when it began. The old service is closed when its last request has been answered.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from typing import Any, TypeAlias

from tsa_core.api import ClockMonitor, ConfigError, TsaError
from tsa_core.config import Settings
from tsa_core.host import CLOSE_SECONDS
from tsa_core.service.material import Material
from tsa_core.service.service import Service

log = logging.getLogger(__name__)

Application: TypeAlias = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_FIRST_VERDICTS_SECONDS = 10.0
"""How long a reload waits for the first verdicts of new clock monitors: without them, requests would be refused."""


_GENERATION = "tsa_core.generation"


class Generation:
    """The application over one service; a reference to it keeps the service open.

    `usual` is the application when it answers requests of known header blocks without an environ, else None.
    """

    __slots__ = ("__weakref__", "application", "usual")

    def __init__(self, application: Application) -> None:
        self.application = application
        self.usual: Any = application if hasattr(application, "usual_heads") else None


class LiveService:
    """A WSGI application over one service at a time, which a reload replaces between two requests.

    `build` makes the application over a service. `prepare`, `commit` and `abort` are for one thread that answers no
    requests; any thread may answer requests. Costs 0.1 us per request.
    """

    def __init__(self, service: Service, build: Callable[[Service], Application]) -> None:
        self.service = service
        """The service for new requests."""
        self._build = build
        self.generation = Generation(build(service))
        """Its application; whoever answers a request holds it until then."""
        self.on_commit: Callable[[], None] = lambda: None
        """Called after each commit, for listeners that have files to read again."""
        self._closing = False
        self._prepared: tuple[Service, Generation] | None = None
        self._retiring: list[threading.Thread] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request with the current service."""
        # The environ holds it until the reply is made, which in a batch is after this returns.
        generation = environ[_GENERATION] = self.generation
        return generation.application(environ, start_response)

    @property
    def checks_heads(self) -> bool:
        """Whether there are guards, which can refuse a request before its body has come."""
        return hasattr(self.generation.application, "check_head")

    def check_head(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes] | None:
        """Return the guards' refusal of a request, whose body need not be there; None when it passes."""
        generation = environ[_GENERATION] = self.generation
        check = getattr(generation.application, "check_head", None)
        return None if check is None else check(environ, start_response)

    def prepare(
        self,
        settings: Settings,
        *,
        material: Material | None = None,
        monitors: Mapping[str, ClockMonitor] | None = None,
    ) -> Service:
        """Open and check a new service beside the current one, and return it; requests are not affected yet.

        Raises TsaError with a line for the operator when it cannot be used; all that was opened for it is closed.
        """
        self.abort()
        new = Service(settings, material=material, previous=self.service, monitors=monitors)
        try:
            self._prepared = new, Generation(self._build(new))
            new.clock.gate.wait_for_monitors(_FIRST_VERDICTS_SECONDS)
            if self._closing:
                raise ConfigError("the server ends; the new configuration is not used")
        except BaseException:
            self._prepared = None
            new.close()
            raise
        return new

    def commit(self) -> None:
        """Let the prepared service answer all new requests, and close the old one when it is idle."""
        assert self._prepared is not None, "prepare() comes first"  # noqa: S101 - a mistake of ours
        old_service, old_generation = self.service, self.generation
        self.service, self.generation = self._prepared
        self._prepared = None
        old_service.watch.stop()
        try:
            self.service.start()
        except TsaError as error:
            log.warning("the new configuration serves, but: %s", error)
        try:
            self.on_commit()
        except TsaError as error:
            log.warning("the new configuration serves, but: %s", error)
        self.service.audit_exchange(old_service)
        idle = threading.Event()
        weakref.finalize(old_generation, idle.set).atexit = False
        del old_generation
        thread = threading.Thread(target=_retire, args=(old_service, idle), name="retire", daemon=True)
        self._retiring = [each for each in self._retiring if each.is_alive()] + [thread]
        thread.start()

    def abort(self, *, seconds: float = CLOSE_SECONDS) -> None:
        """Close a prepared service without using it."""
        if self._prepared is not None:
            service, _ = self._prepared
            self._prepared = None
            service.close(seconds=seconds)

    def close(self, *, seconds: float = CLOSE_SECONDS) -> None:
        """Close all services within `seconds`; called when no request is in progress.

        A reload that still opens plugins in its thread is left to that, and takes no effect.
        """
        self._closing = True
        end = monotonic() + seconds
        if self._prepared is not None:
            self.abort(seconds=seconds / 3)
        for thread in self._retiring:
            thread.join(min(1.0, max(0.0, end - monotonic()) / 3))
        self.service.close(seconds=max(0.0, end - monotonic()))


def _retire(service: Service, idle: threading.Event) -> None:
    """Close a service when its last request has been answered, or after the longest time that one can take."""
    if not idle.wait(_longest_request(service) + service.settings.server.graceful_timeout.total_seconds()):
        log.warning("requests of the configuration before the reload are still in progress; its plugins are closed")
    service.close()
    log.debug("the configuration before the reload is closed")


def _longest_request(service: Service) -> float:
    """Return for how many seconds a request can be in progress: it waits for a thread, its signature and each sink."""
    settings = service.settings
    signature = max(profile.longest_signature for profile in service.authority.profiles.values())
    sinks = len(settings.audit.sinks) * settings.audit.sink_timeout
    return float(signature + (settings.server.queue_timeout + sinks).total_seconds())
