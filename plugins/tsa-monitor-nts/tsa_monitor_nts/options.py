"""The settings of `[clock.nts]`."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from tsa_core.api import ConfigPath, Duration, TextList
from tsa_core.api.ntp.options import RoundOptions


class NtsOptions(RoundOptions):
    """`[clock.nts]`: as `[clock.ntp]`, but for what is about keys and certificates."""

    servers: TextList = Field(
        default_factory=list, description="servers of NTS keys: NAME, NAME:PORT or [IPv6]:PORT; port 4460 unless given"
    )
    ca: ConfigPath | None = Field(
        None, description="PEM file: the CAs of the servers' certificates; those of the system unless given"
    )
    key_exchange_pause: Duration = Field(
        timedelta(seconds=10),
        gt=timedelta(0),
        description="least time between two key exchanges with a server; 1.5 times as long after each that did not "
        "lead to an answer, up to an hour",
    )
