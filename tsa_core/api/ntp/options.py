"""The settings that every monitor of time servers has, and what must hold between them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from pydantic import Field

from tsa_core.api.errors import ConfigError
from tsa_core.api.fields import Duration
from tsa_core.api.provider import PluginOptions


class RoundOptions(PluginOptions):
    """How often servers are asked, how many must agree, and what is believed of an answer."""

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


def check_rounds(options: RoundOptions, servers: Sequence[str], *, where: str | None) -> None:
    """Raise ConfigError for settings that cannot work with these servers; `where` is the file or the table."""
    if not servers:
        raise ConfigError("no servers; list at least num_servers of them, four or more of your own choice", path=where)
    names = set(servers)
    if len(names) < options.num_servers:
        raise ConfigError(
            f"num_servers is {options.num_servers}, but only {len(names)} different servers are listed; "
            "list more or lower num_servers",
            path=where,
        )
    if options.server_threshold > options.num_servers:
        raise ConfigError(
            f"server_threshold is {options.server_threshold}, more than the {options.num_servers} servers that are "
            "asked (num_servers)",
            path=where,
        )
    if options.max_time_delta < options.request_timeout:
        raise ConfigError("max_time_delta must not be shorter than request_timeout", path=where)
    for name in ("request_timeout", "period"):
        if getattr(options, name) < timedelta(milliseconds=10):
            raise ConfigError(f"{name} must be at least 10ms", path=where)
