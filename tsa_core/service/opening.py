"""Opens the signers, the clock and the anchoring that the settings select."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from cryptography import x509

from tsa_core.api import (
    AuditEvent,
    Clock,
    ClockMonitor,
    ConfigError,
    PluginError,
    Signer,
    SignerError,
    SignerUnavailable,
    TemporaryFailure,
    TimeSourceReport,
    UnsupportedKey,
    signature_algorithm,
)
from tsa_core.api.clock import verdict_complaint
from tsa_core.api.wrong_types import describe
from tsa_core.authority import (
    AwaitedSigner,
    ClockGate,
    ClockReference,
    LimitedClock,
    read_kernel_clock,
    system_reference,
)
from tsa_core.config import PluginSection, Settings
from tsa_core.conformance.profiles import CONFORMANCE
from tsa_core.host import CLOCK, CLOCK_MONITOR, SIGNER, Kind, PluginHost
from tsa_core.host.loading import at_fault
from tsa_core.service.binding import ask_selected
from tsa_core.values import Value

if TYPE_CHECKING:
    from tsa_core.config.sections import AuditSettings
    from tsa_core.service.anchoring import Anchoring

log = logging.getLogger(__name__)


def _signer_settings(
    settings: Settings, name: str, certified_key: bytes | None
) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return the plugin's name, its table, and the fields that come from the profile."""
    profile = settings.profiles[name]
    table = {**settings.signer.get(profile.scheme, {}), **profile.signer_options}
    fixed = {
        "uri": profile.signer,
        "signature_digest": profile.signer_hash,
        "rsa_pss": profile.rsa_pss,
        "certified_key": certified_key,
    }
    return profile.scheme, table, fixed


def open_signer(host: PluginHost, settings: Settings, name: str, *, certified_key: bytes | None = None) -> Signer:
    """Open the signer of the profile `name`; raises ConfigError, PluginError or SignerError.

    `certified_key` is the SubjectPublicKeyInfo of the profile's certificate, for signers whose URI may name several
    keys.
    """
    scheme, table, fixed = _signer_settings(settings, name, certified_key)
    try:
        return host.open(SIGNER, scheme, table, fixed=fixed, owner=name)
    except SignerUnavailable as error:
        raise SignerUnavailable(f"profiles.{name}.signer: {error}") from error
    except SignerError as error:
        raise SignerError(f"profiles.{name}.signer: {error}") from error


def adopt_signer(
    host: PluginHost, settings: Settings, name: str, signer: Signer, *, certified_key: bytes | None = None
) -> None:
    """Register a signer that was opened before this process was forked, so that a reload can keep it."""
    scheme, table, fixed = _signer_settings(settings, name, certified_key)
    host.adopt(SIGNER, scheme, table, signer, fixed=fixed, owner=name)


def open_or_await_signer(
    host: PluginHost, settings: Settings, name: str, *, certificate: x509.Certificate, certified_key: bytes | None
) -> Signer:
    """Open the signer of a profile; a stand-in that waits for it when its backend cannot be reached now.

    Key and algorithm of the stand-in are those that `certificate`, the TSA's, and the profile's settings say.
    """
    try:
        return open_signer(host, settings, name, certified_key=certified_key)
    except TemporaryFailure as error:
        profile = settings.profiles[name]
        key = certificate.public_key()
        try:
            algorithm = signature_algorithm(key, digest=profile.signer_hash, pss=profile.rsa_pss)
        except UnsupportedKey:
            raise error from None  # the chain's rules would say more, but have no signer to judge it with
        log.error("%s; the server starts without it, and tries again", error)  # noqa: TRY400 - no traceback
        failure = str(error)
    scheme, table, fixed = _signer_settings(settings, name, certified_key)
    awaited = AwaitedSigner(
        name,
        public_key=key,  # type: ignore[arg-type] # as above
        algorithm=algorithm,
        opens=partial(host.open_apart, SIGNER, scheme, table, fixed=fixed),
        failure=failure,
    )
    host.adopt(SIGNER, scheme, table, awaited, fixed=fixed, owner=name, close=awaited.close)
    return awaited


def open_shared_signers(host: PluginHost, settings: Settings) -> dict[str, Signer]:
    """Open the signers that worker processes can share, before they are forked; the host closes them.

    A key made at start must be shared, or every worker would sign with its own key and chain. With start = "wait", what
    cannot be had now is left to the workers.
    """
    shared = {}
    for name, profile in settings.profiles.items():
        if host.provider(SIGNER, profile.scheme).fork_safe:
            try:
                shared[name] = open_signer(host, settings, name)
            except TemporaryFailure:
                if settings.server.start == "fail":
                    raise
    return shared


class OpenedClock(Value):
    """The gate, and its monitors by name."""

    gate: ClockGate
    monitors: Mapping[str, ClockMonitor]


def open_clock(
    settings: Settings,
    host: PluginHost,
    *,
    monitors: Mapping[str, ClockMonitor] | None = None,
    memories: Mapping[str, str] | None = None,
) -> OpenedClock:
    """Open the clock and its monitors and start these; `host.close()` stops them.

    `monitors` are run by another process and replace those of the settings. `memories` are those of the monitors before
    a reload, by name. Raises ConfigError or PluginError when something cannot be opened, and ConfigError for an
    accuracy that the clock may drift out of between two measurements.
    """
    section = settings.clock
    opened = host.open(CLOCK, section.source, section.plugin_table(section.source))
    clock = opened
    if opened.latency == "remote":
        seconds = section.source_timeout.total_seconds()
        clock = LimitedClock(opened, name=section.source, seconds=seconds, threads=settings.server.threads)
    refuse_without_effect(section, "source_timeout", "clock", waits=opened.latency == "remote")
    if monitors is None:
        # A monitor that is kept measures the clock that it was started with.
        same_clock = host.has_kept(opened)
        monitors = {
            name: host.open(CLOCK_MONITOR, name, section.plugin_table(name), keep=same_clock)
            for name in dict.fromkeys(section.active_monitors)
        }
        refuse_drift(settings, {name: monitor.period for name, monitor in monitors.items()})
        for name, monitor in monitors.items():
            if not host.has_kept(monitor):
                if memory := (memories or {}).get(name):
                    monitor.remember(memory)
                _start(host, name, monitor, clock)
    # The kernel's knowledge of leap seconds applies to the system clock only.
    of_system = section.source == "system"
    gate = ClockGate(
        clock,
        list(monitors.values()),
        settings=section,
        kernel=read_kernel_clock if of_system else None,
        reference=system_reference() if of_system else ClockReference(),
        names=[_name(host, CLOCK, section.source), *(_name(host, CLOCK_MONITOR, name) for name in monitors)],
    )
    return OpenedClock(gate=gate, monitors=monitors)


def _name(host: PluginHost, kind: Kind[Any], name: str) -> str:
    """Return what the log calls a plugin."""
    distribution = host.distribution(name)
    return f"the {kind.label} {name!r}{f' ({distribution})' if distribution else ''}"


def refuse_without_effect(section: PluginSection, setting: str, table: str, *, waits: bool) -> None:
    """Raise ConfigError for a time limit that was set for plugins none of which waits."""
    if not waits and getattr(section, setting) != type(section).model_fields[setting].default:
        raise ConfigError(
            "it has no effect, because no plugin that is selected here waits for a network", path=f"{table}.{setting}"
        )


def _start(host: PluginHost, name: str, monitor: ClockMonitor, clock: Clock) -> None:
    """Start a monitor and ask it once for all that it will be asked for; raises PluginError for what is wrong."""
    what = _name(host, CLOCK_MONITOR, name)

    def start() -> None:
        try:
            monitor.start(clock)
        except RuntimeError as error:
            if type(error) is not RuntimeError:
                raise
            raise PluginError(
                f"{what} cannot be started: {error}; is a limit of processes or threads reached?", plugin=name
            ) from error

    ask_selected(start, CLOCK_MONITOR.label, name, host, asked="start")
    asked = "its first verdict, memory and sources"
    complaint = ask_selected(partial(_monitor_complaint, monitor), CLOCK_MONITOR.label, name, host, asked=asked)
    if complaint:
        raise PluginError(f"{what}: {complaint}; {at_fault(host.plugin(name))}", plugin=name)


def _monitor_complaint(monitor: ClockMonitor) -> str:
    if complaint := verdict_complaint(monitor.verdict()):
        return f"verdict returned {complaint}"
    memory: object = monitor.memory()
    if not isinstance(memory, str):
        return f"memory returned {describe(memory)}, not a str"
    sources: object = monitor.sources()
    if not isinstance(sources, Sequence) or not all(isinstance(each, TimeSourceReport) for each in sources):
        return f"sources returned {describe(sources)}, not a list of TimeSourceReports"
    return ""


def refuse_drift(settings: Settings, periods: Mapping[str, timedelta | None]) -> None:
    """Raise ConfigError for an accuracy that the clock may drift out of between two measurements of a monitor.

    `periods` are the times between two measurements, by monitor. A profile whose tokens may state a wider accuracy, or
    are issued whatever the clock's state, is not refused. A monitor that measures less often than the conformance of a
    profile demands is refused in any case.
    """
    section = settings.clock
    _refuse_seldom(settings, periods)
    if section.widen_accuracy or section.on_failure == "warn":
        return
    for monitor, period in periods.items():
        if period is None:
            continue
        drift = period * (section.drift_ppm * 1e-6)
        for name, profile in settings.profiles.items():
            accuracy = profile.promised_accuracy
            if accuracy is None or not timedelta(0) < accuracy <= drift:
                continue
            most = accuracy / (section.drift_ppm * 1e-6) / 2
            raise ConfigError(
                f"tokens would state {_text(accuracy)}, but between two measurements of the clock monitor "
                f"{monitor!r}, {_text(period)} apart, the clock may drift by {_text(drift)} "
                f"([clock] drift_ppm = {section.drift_ppm:g}); measure more often, [clock.{monitor}] "
                f'period = "{_text(most).replace(" ", "")}" for example, or state a wider accuracy',
                path=f"profiles.{name}.accuracy",
            )


def _refuse_seldom(settings: Settings, periods: Mapping[str, timedelta | None]) -> None:
    standards = dict.fromkeys(name for profile in settings.profiles.values() for name in profile.conformance)
    for rule in (rule for name in standards for rule in CONFORMANCE[name].rules):
        for monitor, period in periods.items():
            if rule.longest_period is not None and period is not None and period > rule.longest_period:
                raise ConfigError(
                    f"the clock monitor {monitor!r} measures every {_text(period)}; set it to "
                    f"{_text(rule.longest_period)} or less ({rule.name}: {rule.clause})",
                    path=f"clock.{monitor}.period",
                )


def _text(duration: timedelta) -> str:
    seconds = duration.total_seconds()
    return f"{seconds:.6g} s" if seconds >= 1 else f"{seconds * 1000:.6g} ms"


def open_anchoring(settings: AuditSettings, host: PluginHost, record: Callable[[AuditEvent], None]) -> Anchoring | None:
    """Return what has the trails of the sinks stamped by other authorities; None when nobody asked for it."""
    if not settings.anchor_urls:
        return None
    from tsa_core.service.anchoring import Anchoring  # few have it, and it loads client and verifier

    try:
        trails = [host.open_trail(name, settings.plugin_table(name)) for name in settings.sinks]
    except PluginError as error:
        raise PluginError(f"[audit] anchor_urls: {error}", plugin=error.plugin) from None
    return Anchoring(trails, settings, record)
