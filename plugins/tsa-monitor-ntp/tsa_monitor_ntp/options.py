"""The settings of `[clock.ntp]`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from tsa_core.api import Duration, PluginOptions, TextList, resolve_path

BUILT_IN_FILE = "default"


def _resolve(value: str) -> str:
    return value if value == BUILT_IN_FILE else str(resolve_path(Path(value)))


class NtpOptions(PluginOptions):
    """`[clock.ntp]`: the keys of the reference system's YAML file, and a few more."""

    file: Annotated[str, AfterValidator(_resolve)] | None = Field(
        None, description="a YAML file as Sigstore's TSA has it, or 'default' for its servers; keys given here win"
    )
    servers: TextList = Field(default_factory=list, description="time servers: NAME, NAME:PORT or [IPv6]:PORT")
    num_servers: int = Field(4, ge=1, le=64, description="servers asked in each round, chosen at random")
    server_threshold: int = Field(3, ge=1, le=64, description="servers that must answer and agree")
    request_attempts: int = Field(3, ge=1, le=10, description="attempts to reach a server in a round")
    request_timeout: Duration = Field(timedelta(seconds=5), description="time for one attempt")
    max_time_delta: Duration = Field(timedelta(seconds=6), description="how far the clock may be off at most")
    period: Duration = Field(timedelta(seconds=60), description="time between rounds")
    attempt_backoff: Duration = Field(
        timedelta(seconds=1), description="pause after a failed attempt; doubled each time"
    )
    max_root_distance: Duration = Field(
        timedelta(seconds=1.5), description="an answer that is less certain than this is refused (half of its delays)"
    )
    minimum_uncertainty: Duration = Field(
        timedelta(milliseconds=1), description="no answer counts as more certain than this"
    )
    metrics_port: int = Field(
        0, ge=0, le=65535, description="serve this plugin's metrics on 127.0.0.1; 0: only in the process's registry"
    )
