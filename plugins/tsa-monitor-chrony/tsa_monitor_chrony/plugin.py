"""Registers the chrony monitor."""

from __future__ import annotations

from collections.abc import Iterable

from tsa_core.api import ClockMonitor, Provider, hookimpl
from tsa_monitor_chrony.options import ChronyOptions


def _open(options: ChronyOptions) -> ClockMonitor:
    from tsa_monitor_chrony.monitor import ChronyMonitor

    return ChronyMonitor(options)


@hookimpl
def tsa_clock_monitors() -> Iterable[Provider[ClockMonitor]]:
    """Register the monitor `chrony`."""
    yield Provider(name="chrony", summary="Asks the local chronyd what it knows", options=ChronyOptions, open=_open)
