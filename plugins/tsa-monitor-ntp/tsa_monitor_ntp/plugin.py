"""Registers the NTP monitor."""

from __future__ import annotations

from collections.abc import Iterable

from tsa_core.api import ClockMonitor, Provider, hookimpl
from tsa_monitor_ntp.options import NtpOptions


def _open(options: NtpOptions) -> ClockMonitor:
    from tsa_monitor_ntp.monitor import NtpMonitor
    from tsa_monitor_ntp.settings_file import effective_options

    return NtpMonitor(effective_options(options))


@hookimpl
def tsa_clock_monitors() -> Iterable[Provider[ClockMonitor]]:
    """Register the monitor `ntp`."""
    yield Provider(name="ntp", summary="Asks NTP servers, believes their majority", options=NtpOptions, open=_open)
