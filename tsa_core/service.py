"""Opens what the settings select and holds it together: the one place that knows both plugins and authority."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from tsa_core.api import (
    AuditEvent,
    AuditSink,
    ClockMonitor,
    ConfigError,
    HealthCheck,
    HealthStatus,
    Signer,
    SignerError,
)
from tsa_core.authority import (
    ClockChange,
    ClockGate,
    ClockState,
    Profile,
    TimestampAuthority,
    read_kernel_clock,
)
from tsa_core.config import PluginSection, Settings
from tsa_core.host import (
    AUDIT_SINK,
    CLOCK,
    CLOCK_MONITOR,
    HEALTH_CHECK,
    OBSERVER,
    POLICY_SELECTOR,
    RESPONSE_PROCESSOR,
    SIGNER,
    Kind,
    PluginHost,
)

log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0


def open_signer(host: PluginHost, settings: Settings, name: str) -> Signer:
    """Open the signer of the profile `name`; raises ConfigError, PluginError or SignerError."""
    profile = settings.profiles[name]
    table = {**settings.signer.get(profile.scheme, {}), **profile.signer_options}
    fixed = {"uri": profile.signer, "signature_digest": profile.signer_hash, "rsa_pss": profile.rsa_pss}
    try:
        return host.open(SIGNER, profile.scheme, table, fixed=fixed)
    except SignerError as error:
        raise SignerError(f"profiles.{name}.signer: {error}") from error


def open_shared_signers(host: PluginHost, settings: Settings) -> dict[str, Signer]:
    """Open the signers that worker processes can share, before they are forked; the host closes them.

    A key made at start must be shared, or every worker would sign under a chain of its own.
    """
    return {
        name: open_signer(host, settings, name)
        for name, profile in settings.profiles.items()
        if host.provider(SIGNER, profile.scheme).fork_safe
    }


@dataclass(frozen=True, kw_only=True)
class ReadinessCheck:
    """One line of /readyz."""

    name: str
    healthy: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class OpenedClock:
    """The gate, and the monitors that it asks by name."""

    gate: ClockGate
    monitors: Mapping[str, ClockMonitor]


def open_clock(settings: Settings, host: PluginHost) -> OpenedClock:
    """Open the clock and its monitors and start these; `host.close()` stops them.

    Raises ConfigError or PluginError when something cannot be opened.
    """
    section = settings.clock
    clock = host.open(CLOCK, section.source, section.plugin_table(section.source))
    monitors: dict[str, ClockMonitor] = {}
    for name in dict.fromkeys(section.active_monitors):
        monitors[name] = host.open(CLOCK_MONITOR, name, section.plugin_table(name))
    for monitor in monitors.values():
        monitor.start(clock)
    # What the kernel knows of leap seconds is about its own clock alone.
    kernel = read_kernel_clock if section.source == "system" else None
    gate = ClockGate(clock, list(monitors.values()), settings=section, kernel=kernel)
    return OpenedClock(gate=gate, monitors=monitors)


class Service:
    """An opened authority and everything that must be closed with it; a context manager.

    Raises ConfigError, PluginError or SignerError, each with a line for the operator, when something cannot be
    opened; what had been opened until then is closed again. `shared` are signers by profile that another process
    opened before this one was forked; they are closed there.
    """

    def __init__(
        self, settings: Settings, *, host: PluginHost | None = None, shared: Mapping[str, Signer] | None = None
    ) -> None:
        self.settings = settings
        self.host = host or PluginHost(base_directory=settings.base_directory)
        self._shared = dict(shared or {})
        self.warnings: list[str] = []
        """Lines for the operator about what works but should not be relied upon."""
        self._health_lock = threading.Lock()
        self._next_trial: dict[str, float] = {}
        try:
            self._open()
            self.clock.gate.subscribe(self._audit_clock)
            self.clock.gate.start()
        except BaseException:
            self.host.close()
            raise

    def _open(self) -> None:
        settings = self.settings
        self._refuse_tables_of_nobody()
        self.clock = open_clock(settings, self.host)
        gate = self.clock.gate
        profiles = []
        for name, profile in settings.profiles.items():
            signer = self._shared.get(name) or open_signer(self.host, settings, name)
            profiles.append(Profile(name, profile, signer, gate))
            if profile.certificate_chain is None:
                self.warnings.append(
                    f"Profile {name!r} signs with a key and a test chain that were made at this start. Nobody should "
                    "trust its timestamps, and after a restart nobody can verify them. For real use, configure a "
                    "signer and a certificate chain."
                )
        # The default profile first: where profiles share a policy, the first in line gets it.
        profiles.sort(key=lambda profile: profile.name != "default")
        selectors = [self._plugin(POLICY_SELECTOR, settings.policy, name) for name in settings.policy.selectors]
        for selector in selectors:
            selector.bind([profile.summary for profile in profiles])
        self._audit_sinks: list[AuditSink] = [
            self._plugin(AUDIT_SINK, settings.audit, name) for name in settings.audit.sinks
        ]
        self.authority = TimestampAuthority(
            profiles=profiles,
            gate=gate,
            selectors=selectors,
            processors=[
                self._plugin(RESPONSE_PROCESSOR, settings.response, name) for name in settings.response.processors
            ],
            audit_sinks=self._audit_sinks,
            observers=[self._plugin(OBSERVER, settings.observe, name) for name in settings.observe.observers],
        )
        self._checks: list[tuple[str, HealthCheck]] = [
            (name, self._plugin(HEALTH_CHECK, settings.health, name)) for name in settings.health.checks
        ]

    def _plugin(self, kind: Kind[Any], section: PluginSection, name: str) -> Any:
        return self.host.open(kind, name, section.plugin_table(name))

    def _refuse_tables_of_nobody(self) -> None:
        """Refuse tables of plugins that are not installed: a misspelt name, or a plugin that was forgotten."""
        installed = {plugin.name for plugin in self.host.installed()}
        tables = {f"signer.{name}": name for name in self.settings.signer}
        for section in ("clock", "policy", "response", "audit", "observe", "health"):
            names = getattr(self.settings, section).plugin_tables()
            tables.update({f"{section}.{name}": name for name in names})
        for path, name in tables.items():
            if name not in installed:
                raise ConfigError(
                    f"[{path}] is the table of a plugin that is not installed; "
                    f"installed: {', '.join(sorted(installed))}"
                )

    @property
    def local(self) -> bool:
        """Whether every signer answers in microseconds, so that requests may run on the I/O thread."""
        return all(profile.signer.latency == "local" for profile in self.authority.profiles.values())

    # -- readiness ----------------------------------------------------------------------------------------------

    def readiness(self) -> list[ReadinessCheck]:
        """Return the state of signers, clock and further checks; every reason is fit for the public."""
        return list(self._readiness())

    def _readiness(self) -> Iterator[ReadinessCheck]:
        for profile in self.authority.profiles.values():
            healthy = profile.available or self._try_again(profile)
            reason = "" if healthy else "the signer cannot sign now"
            yield ReadinessCheck(name=f"signer:{profile.name}", healthy=healthy, reason=reason)
            if not profile.not_before <= datetime.now(UTC) <= profile.not_after:
                reason = "a certificate of the chain is not valid now"
                yield ReadinessCheck(name=f"certificate:{profile.name}", healthy=False, reason=reason)
        yield self._clock_check()
        for name, check in self._checks:
            try:
                status = check.check()
            except Exception:
                log.exception("the health check %r crashed", name)
                status = HealthStatus(healthy=False, reason="the check failed")
            yield ReadinessCheck(name=name, healthy=status.healthy, reason=status.reason)

    def _clock_check(self) -> ReadinessCheck:
        status = self.authority.gate.status()
        parts = [] if status.state in {ClockState.SYNCHRONISED, ClockState.UNMONITORED} else [status.state.value]
        if status.reason:
            parts.append(status.reason)
        if status.uncovered:
            parts.append(f"not accurate enough for: {', '.join(status.uncovered)}")
        if parts and status.issuing and not status.state.trusted:
            parts.append('timestamps are issued all the same (on_failure = "warn")')
        return ReadinessCheck(name="clock", healthy=status.healthy, reason="; ".join(parts))

    def _audit_clock(self, change: ClockChange) -> None:
        """Write a change of the clock's state into the audit trail."""
        status = change.status
        details = {
            "state": status.state.value,
            "previous": change.previous.state.value,
            "issuing": str(status.issuing).lower(),
            "reason": status.reason,
        }
        if status.offset is not None:
            details["offset_seconds"] = f"{status.offset.total_seconds():.6f}"
        if status.error_bound is not None:
            details["error_bound_seconds"] = f"{status.error_bound.total_seconds():.6f}"
        if status.uncovered:
            details["uncovered_profiles"] = ",".join(status.uncovered)
        event = AuditEvent(kind="clock.state", time=change.time, details=details)
        for sink in self._audit_sinks:
            try:
                sink.event(event)
            except Exception:
                log.exception("an audit sink did not take the event %s", event)

    def _try_again(self, profile: Profile) -> bool:
        """Make a trial signature, once a second at most, so that a server without traffic recovers too."""
        with self._health_lock:
            now = time.monotonic()
            if now < self._next_trial.get(profile.name, 0.0):
                return False
            self._next_trial[profile.name] = now + _RETRY_SECONDS
        try:
            profile.trial_signature()
        except Exception as error:  # noqa: BLE001 - any failure means: not ready
            log.warning("profile %r: the signer is still unavailable: %s", profile.name, error)
            return False
        profile.available = True
        return True

    # -- lifetime -----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close all plugins; once more than needed does no harm."""
        self.clock.gate.stop()
        self.host.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
