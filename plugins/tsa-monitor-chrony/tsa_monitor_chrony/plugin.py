"""Registers the chrony monitor."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from pydantic import Field

from tsa_core.api import ClockMonitor, Duration, PluginOptions, Provider, hookimpl


class ChronyOptions(PluginOptions):
    """`[clock.chrony]`."""

    program: str = Field("chronyc", description="the program chronyc, by name or path")
    address: str = Field("", description="where chronyd listens for commands; its socket or 127.0.0.1 unless given")
    port: int = Field(323, ge=1, le=65535, description="chronyd's command port, when it is asked over UDP")
    period: Duration = Field(timedelta(seconds=5), description="time between two looks at chronyd")
    timeout: Duration = Field(timedelta(seconds=2), description="time for one answer of chronyd")
    max_offset: Duration = Field(timedelta(seconds=1), description="how far the clock may be off at most")
    minimum_uncertainty: Duration = Field(
        timedelta(microseconds=10), description="no measurement counts as more certain than this"
    )


def _open(options: ChronyOptions) -> ClockMonitor:
    from tsa_monitor_chrony.monitor import ChronyMonitor

    return ChronyMonitor(options)


@hookimpl
def tsa_clock_monitors() -> Iterable[Provider[ClockMonitor]]:
    """Register the monitor `chrony`."""
    yield Provider(name="chrony", summary="Asks the local chronyd what it knows", options=ChronyOptions, open=_open)
