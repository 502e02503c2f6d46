"""Opens the signers and the clock that the settings select."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tsa_core.api import ClockMonitor, Signer, SignerError
from tsa_core.authority import ClockGate, ClockReference, read_kernel_clock, system_reference
from tsa_core.config import Settings
from tsa_core.host import CLOCK, CLOCK_MONITOR, SIGNER, PluginHost


def _signer_settings(settings: Settings, name: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return the plugin's name, its table, and the fields that come from the profile."""
    profile = settings.profiles[name]
    table = {**settings.signer.get(profile.scheme, {}), **profile.signer_options}
    fixed = {"uri": profile.signer, "signature_digest": profile.signer_hash, "rsa_pss": profile.rsa_pss}
    return profile.scheme, table, fixed


def open_signer(host: PluginHost, settings: Settings, name: str) -> Signer:
    """Open the signer of the profile `name`; raises ConfigError, PluginError or SignerError."""
    scheme, table, fixed = _signer_settings(settings, name)
    try:
        return host.open(SIGNER, scheme, table, fixed=fixed, owner=name)
    except SignerError as error:
        raise SignerError(f"profiles.{name}.signer: {error}") from error


def adopt_signer(host: PluginHost, settings: Settings, name: str, signer: Signer) -> None:
    """Register a signer that was opened before this process was forked, so that a reload can keep it."""
    scheme, table, fixed = _signer_settings(settings, name)
    host.adopt(SIGNER, scheme, table, signer, fixed=fixed, owner=name)


def open_shared_signers(host: PluginHost, settings: Settings) -> dict[str, Signer]:
    """Open the signers that worker processes can share, before they are forked; the host closes them.

    A key made at start must be shared, or every worker would sign with its own key and chain.
    """
    return {
        name: open_signer(host, settings, name)
        for name, profile in settings.profiles.items()
        if host.provider(SIGNER, profile.scheme).fork_safe
    }


@dataclass(frozen=True, kw_only=True)
class OpenedClock:
    """The gate, and its monitors by name."""

    gate: ClockGate
    monitors: Mapping[str, ClockMonitor]


def open_clock(
    settings: Settings, host: PluginHost, *, monitors: Mapping[str, ClockMonitor] | None = None
) -> OpenedClock:
    """Open the clock and its monitors and start these; `host.close()` stops them.

    `monitors` are run by another process and replace those of the settings. Raises ConfigError or PluginError when
    something cannot be opened.
    """
    section = settings.clock
    clock = host.open(CLOCK, section.source, section.plugin_table(section.source))
    if monitors is None:
        # A monitor that is kept measures the clock that it was started with.
        same_clock = host.has_kept(clock)
        monitors = {
            name: host.open(CLOCK_MONITOR, name, section.plugin_table(name), keep=same_clock)
            for name in dict.fromkeys(section.active_monitors)
        }
        for monitor in monitors.values():
            if not host.has_kept(monitor):
                monitor.start(clock)
    # The kernel's knowledge of leap seconds applies to the system clock only.
    of_system = section.source == "system"
    gate = ClockGate(
        clock,
        list(monitors.values()),
        settings=section,
        kernel=read_kernel_clock if of_system else None,
        reference=system_reference() if of_system else ClockReference(),
    )
    return OpenedClock(gate=gate, monitors=monitors)
