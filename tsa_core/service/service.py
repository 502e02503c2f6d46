"""An opened configuration: the plugins that the settings select, the authority over them, and its readiness."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from tsa_core.api import (
    AuditSink,
    ClockMonitor,
    ConfigError,
    PolicySelector,
    ResponseProcessor,
    Signer,
    why_not_writable,
)
from tsa_core.api.files import noting_files
from tsa_core.authority import (
    CauseKind,
    CertificateChain,
    Profile,
    TimestampAuthority,
    may_hang,
    parse_chain,
)
from tsa_core.config import PluginSection, Settings
from tsa_core.host import (
    AUDIT_SINK,
    CLOCK_MONITOR,
    CLOSE_SECONDS,
    HEALTH_CHECK,
    OBSERVER,
    POLICY_SELECTOR,
    RESPONSE_PROCESSOR,
    SIGNER,
    Kind,
    PluginHost,
)
from tsa_core.service.audit_heads import AuditHeads
from tsa_core.service.authority_access import ServiceAccess
from tsa_core.service.binding import ask_selected, bind_sinks
from tsa_core.service.guards import Guards, open_guards
from tsa_core.service.material import Material, former_chains, read_material, store_chain
from tsa_core.service.opening import (
    OpenedClock,
    adopt_signer,
    open_anchoring,
    open_clock,
    open_or_await_signer,
    open_signer,
    refuse_without_effect,
)
from tsa_core.service.plugin_routes import OpenedRoutes, handler_seconds, open_routes
from tsa_core.service.plugin_tables import refuse_tables_without_effect
from tsa_core.service.queued_observer import QueuedObserver
from tsa_core.service.queued_refusals import QueuedRefusals
from tsa_core.service.readiness_watch import ReadinessCheck, ReadinessWatch
from tsa_core.service.selector_trial import bind_selectors
from tsa_core.service.surroundings import surroundings
from tsa_core.service.trail_events import TrailEvents

if TYPE_CHECKING:
    from tsa_core.service.anchoring import Anchoring

log = logging.getLogger(__name__)

_THREADS_SECONDS = 2.0
"""How long the ends of threads that may use plugins are waited for, at most, before the plugins are closed."""


class Service:
    """An opened authority and everything that must be closed with it; a context manager.

    Raises ConfigError, PluginError or SignerError, each with a line for the operator, when something cannot be opened;
    all that was opened before is closed.

    `shared` are signers by profile that the parent opened before this process was forked; the parent closes them.
    `material` are chains that were read before. `monitors` are clock monitors that another process runs. `previous` is
    the service that a reload replaces: plugins whose settings are the same are kept open and shared with it, and
    nothing takes effect before `start`. Without `previous` the constructor calls `start`, but not when `checking`: then
    nothing on a disk changes.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        host: PluginHost | None = None,
        shared: Mapping[str, Signer] | None = None,
        material: Material | None = None,
        previous: Service | None = None,
        monitors: Mapping[str, ClockMonitor] | None = None,
        checking: bool = False,
    ) -> None:
        self.settings = settings
        self.host: PluginHost = host or PluginHost.for_settings(
            settings, previous=previous.host if previous else None, checking=checking
        )
        self._checking = checking
        self._shared = dict(shared or {})
        self.warnings: list[str] = []
        """Lines for the operator about what works but is unsafe in production."""
        self._observers: dict[str, QueuedObserver] = {}
        self._refusals: dict[str, QueuedRefusals] = {}
        self.routes: list[OpenedRoutes] = []
        """What plugins add to the HTTP server."""
        self.anchoring: Anchoring | None = None
        """Has the audit trails stamped by other authorities."""
        self.guards: Guards | None = None
        """Who decides which requests the HTTP server answers."""
        try:
            material = material or read_material(settings)
            with noting_files() as files:
                self._open(material, previous, monitors)
            self.files = files | self._files()
            """The files that were read: chains, keys and secrets; not the configuration file itself."""
            if checking:
                self._check_state_directory()
            elif previous is None:
                self.start()
                self.events.started(self.authority.profiles.values())
        except BaseException:
            self.close()
            raise
        finally:
            self.host.forget_previous()

    def _open(self, material: Material, previous: Service | None, monitors: Mapping[str, ClockMonitor] | None) -> None:
        settings = self.settings
        refuse_tables_without_effect(settings, self.host)
        memories = {}
        if previous is not None:
            memories = {
                name: ask_selected(monitor.memory, CLOCK_MONITOR.label, name, previous.host, asked="memory")
                for name, monitor in previous.clock.monitors.items()
            }
        self.clock: OpenedClock = open_clock(settings, self.host, monitors=monitors, memories=memories)
        gate = self.clock.gate
        before = previous.authority.profiles if previous else {}
        chains = {
            name: parse_chain(pem, where=str(profile.certificate_chain))
            for name, profile in settings.profiles.items()
            if (pem := material.chains.get(name))
        }
        # A reload must not put a signer that is to come in the place of one that signs.
        waits_for_signer = {
            name: settings.server.start == "wait"
            and (previous is None or (name in before and not before[name].available))
            for name in settings.profiles
        }
        # Signers and sinks first: a profile's conformance judges what is open, and not what it is called.
        signers = {
            name: self._open_signer(name, chains.get(name), may_wait=may_wait)
            for name, may_wait in waits_for_signer.items()
        }
        sinks: list[tuple[str, AuditSink]] = [
            (name, self._plugin(AUDIT_SINK, settings.audit, name)) for name in settings.audit.sinks
        ]
        trails = [name for name, sink in sinks if sink.keeps_events]
        profiles = []
        for name, profile in settings.profiles.items():
            opened = Profile(
                name,
                profile,
                signers[name],
                gate,
                chain=chains.get(name),
                previous=before.get(name),
                distribution=self.host.distribution(profile.scheme),
                threads=settings.server.threads,
                may_wait=waits_for_signer[name],
                surroundings=surroundings(settings, name, signers=signers, trails=trails),
            )
            profiles.append(opened)
            if not opened.available:
                self.warnings.append(f"Profile {name!r} issues nothing yet: {opened.signer_failed}.")
            if profile.certificate_chain is None:
                self.warnings.append(
                    f"Profile {name!r} signs with a key and a test chain that were made at this start. Nobody should "
                    "trust its timestamps, and after a restart nobody can verify them. For real use, configure a "
                    "signer and a certificate chain."
                )
        if previous:
            gate.continue_from(previous.clock.gate)
        if not self.clock.monitors:
            self.warnings.append(
                f"The clock is unmonitored: {gate.status().reason}. Whatever this machine's clock shows goes into "
                'timestamps. For real use, configure monitors: [clock] monitors = ["chrony"] or ["ntp"].'
            )
        earlier = previous.earlier_chains if previous else {}
        self.earlier_chains: dict[str, tuple[bytes, ...]] = former_chains(
            material, {profile.name: profile for profile in profiles}, before, earlier
        )
        """The PEM of each profile's former chains, the newest first."""
        # The default profile first: where profiles share a policy, the first one gets its requests.
        profiles.sort(key=lambda profile: profile.name != "default")
        selectors: list[tuple[str, PolicySelector]] = [
            (name, self._plugin(POLICY_SELECTOR, settings.policy, name)) for name in settings.policy.selectors
        ]
        summaries = [profile.summary for profile in profiles]
        bind_selectors(selectors, summaries, self.host)
        waits = any(may_hang(selector) for _, selector in selectors)
        refuse_without_effect(settings.policy, "selector_timeout", "policy", waits=waits)
        bind_sinks(sinks, summaries, settings.audit.sink_timeout, self.host)
        processors: list[tuple[str, ResponseProcessor]] = [
            (name, self._plugin(RESPONSE_PROCESSOR, settings.response, name)) for name in settings.response.processors
        ]
        directory = settings.server.state_directory
        self.audit_heads = AuditHeads(sinks, directory / "audit" if directory else None)
        self._refusals = {name: QueuedRefusals(name, sink) for name, sink in sinks if sink.wants_refusals}
        self._observers = {
            name: QueuedObserver(
                name, self._plugin(OBSERVER, settings.observe, name), limit=settings.observe.queue_limit
            )
            for name in settings.observe.observers
        }
        self.authority: TimestampAuthority = TimestampAuthority(
            profiles=profiles,
            gate=gate,
            selectors=selectors,
            processors=processors,
            audit_sinks=sinks,
            distribution=self.host.distribution,
            observers=list(self._observers.values()),
            refusals=[refusals.put for refusals in self._refusals.values()],
            limits={
                CauseKind.POLICY: settings.policy.selector_timeout.total_seconds(),
                CauseKind.RESPONSE: settings.response.processor_timeout.total_seconds(),
                CauseKind.AUDIT: settings.audit.sink_timeout.total_seconds(),
            },
            threads=settings.server.threads,
            spare_cpu=settings.server.spare_cpu,
        )
        self.events: TrailEvents = TrailEvents(self.authority.audit, wanted=bool(sinks))
        self.anchoring = open_anchoring(settings.audit, self.host, self.authority.audit)
        self.guards = open_guards(settings, self.host, self.authority)
        oldest = settings.audit.anchor_max_age
        self.watch: ReadinessWatch = ReadinessWatch(
            self.authority,
            clock=settings.clock,
            sinks=sinks,
            processors=processors,
            guards=self.guards.asked if self.guards is not None else (),
            checks=[
                *((name, self._plugin(HEALTH_CHECK, settings.health, name)) for name in settings.health.checks),
                *(self.anchoring.checks(oldest, looking=self._checking) if self.anchoring is not None else ()),
            ],
            trial_interval=settings.health.trial_interval,
            previous=previous.watch if previous else None,
        )
        self.access: ServiceAccess = ServiceAccess(
            self.authority, self.watch, handler_seconds=handler_seconds(settings, self.authority)
        )
        self.routes = open_routes(settings, self.host, self.access)
        if self.guards is not None:
            self.watch.further_logs.append(self.guards.failures)
        self.watch.further_logs.extend(each.failures for each in self.routes)

    def _plugin(self, kind: Kind[Any], section: PluginSection, name: str) -> Any:
        return self.host.open(kind, name, section.plugin_table(name))

    def take_dropped_outcomes(self) -> dict[str, int]:
        """Return how many requests each observer was not told of since the last call."""
        return {name: observer.take_lost() for name, observer in self._observers.items()}

    def take_lost_refusals(self) -> dict[str, int]:
        """Return how many refused requests each audit sink that wants them has not recorded since the last call."""
        return {name: refusals.take_lost() for name, refusals in self._refusals.items()}

    @property
    def waiting_profiles(self) -> int:
        """The number of profiles whose requests wait for a backend, so that they need threads."""
        return sum(self.authority.waits(profile) for profile in self.authority.profiles.values())

    def _files(self) -> set[Path]:
        chains = [profile.certificate_chain for profile in self.settings.profiles.values()]
        keys: list[Path] = []
        for profile in self.authority.profiles.values():
            signer, scheme = profile.signer, profile.settings.scheme
            keys += ask_selected(signer.files, SIGNER.label, scheme, self.host, asked="files")
        return {path for path in (*chains, *keys) if path is not None}

    def _open_signer(self, name: str, chain: CertificateChain | None, *, may_wait: bool) -> Signer:
        """Return the profile's signer: the shared one when there is one, else opened here, or a stand-in."""
        certified_key = chain.certified_key() if chain else None
        if signer := self._shared.get(name):
            adopt_signer(self.host, self.settings, name, signer, certified_key=certified_key)
            return signer
        if chain is None or not may_wait:
            return open_signer(self.host, self.settings, name, certified_key=certified_key)
        return open_or_await_signer(self.host, self.settings, name, certificate=chain.leaf, certified_key=certified_key)

    # -- readiness ----------------------------------------------------------------------------------------------

    def readiness(self) -> list[ReadinessCheck]:
        """Return the state of everything that tokens depend on; waits for nothing.

        A reason contains nothing that clients must not see.
        """
        if not self._checking:
            self._keep_running()
        return self.watch.checks()

    def _keep_running(self) -> None:
        """Start the threads that write, unless they run."""
        self.audit_heads.keep_running()
        if self.anchoring is not None:
            self.anchoring.keep_running()

    # -- lifetime -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the clock gate, and store the chains; raises ConfigError when these cannot be stored."""
        if directory := self.settings.server.state_directory:
            for profile in self.authority.profiles.values():
                store_chain(directory / "chains" / profile.name, profile.certificate_chain_pem)
        self.clock.gate.subscribe(self.events.clock_changed)
        self.clock.gate.announcements.of_steps.append(self.events.clock_stepped)
        self.watch.told.append(self.events.readiness)
        self.clock.gate.start()
        self.watch.start()
        self._keep_running()

    def _check_state_directory(self) -> None:
        """Raise ConfigError when `start` could not store the chains."""
        if (directory := self.settings.server.state_directory) and (reason := why_not_writable(directory / "chains")):
            raise ConfigError(f"{reason}; give a directory that the server may write to", path="server.state_directory")

    def audit_exchange(self, previous: Service) -> None:
        """Tell the audit trail that this service has replaced another, and which certificates changed."""
        self.events.reloaded(previous.authority.profiles, self.authority.profiles)

    def close(self, *, seconds: float = CLOSE_SECONDS) -> None:
        """Close all plugins that no other service uses; may be called more than once.

        It takes no longer than `seconds`, whatever hangs: half of them, or a second, for the threads that may use
        plugins, and the rest for the plugins.
        """
        end = monotonic() + seconds
        threads_end = monotonic() + min(_THREADS_SECONDS, seconds / 2)

        def left() -> float:
            return max(0.0, threads_end - monotonic())

        # Told first, and waited for afterwards, so that they end at the same time.
        if hasattr(self, "watch"):
            self.watch.stop()
        if self.anchoring is not None:
            self.anchoring.stop()
        queued: list[QueuedObserver | QueuedRefusals | TrailEvents] = [*self._observers.values()]
        queued += [*self._refusals.values(), *([self.events] if hasattr(self, "events") else [])]
        for each in queued:
            each.stop()
        if hasattr(self, "clock"):
            self.clock.gate.stop(seconds=left())
        if hasattr(self, "watch"):
            self.watch.close(seconds=left())
        if hasattr(self, "audit_heads"):
            self.audit_heads.close(seconds=left())
        if self.anchoring is not None:
            self.anchoring.close(seconds=left())
        for each in queued:
            each.finish(seconds=left())
        for routes in self.routes:
            routes.calls.close()
        if self.guards is not None:
            self.guards.close()
        if hasattr(self, "authority"):
            self.authority.close()
        self.host.close(seconds=max(0.0, end - monotonic()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
