"""The settings of `[clock.chrony]`."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from tsa_core.api import Duration, PluginOptions


class ChronyOptions(PluginOptions):
    """`[clock.chrony]`."""

    program: str = Field("chronyc", description="the program chronyc, by name or path")
    address: str = Field("", description="where chronyd listens for commands; its socket or 127.0.0.1 unless given")
    port: int = Field(323, ge=1, le=65535, description="chronyd's command port, when it is asked over UDP")
    period: Duration = Field(timedelta(seconds=5), description="time between two looks at chronyd")
    timeout: Duration = Field(timedelta(seconds=2), description="time for one answer of chronyd")
    max_offset: Duration = Field(timedelta(seconds=1), description="how far the clock may be off at most")
    min_sources: int = Field(1, ge=1, description="sources that chronyd must hear, and that must agree")
    minimum_uncertainty: Duration = Field(
        timedelta(microseconds=10), description="no source counts as more certain than this"
    )
