"""Registers the NTS monitor."""

from __future__ import annotations

from collections.abc import Iterable

from tsa_core.api import ClockMonitor, Provider, hookimpl
from tsa_monitor_nts.options import NtsOptions


def _open(options: NtsOptions) -> ClockMonitor:
    from tsa_monitor_nts.monitor import NtsMonitor

    return NtsMonitor(options)


@hookimpl
def tsa_clock_monitors() -> Iterable[Provider[ClockMonitor]]:
    """Register the monitor `nts`."""
    yield Provider(
        name="nts", summary="Asks NTP servers that authenticate their answers (NTS)", options=NtsOptions, open=_open
    )
