"""The settings of `[audit.auditsql]`."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from pydantic import Field, model_validator

from tsa_core.api import ConfigError, ConfigPath, Duration, PluginOptions, Secret


class AuditSqlOptions(PluginOptions):
    """`[audit.auditsql]`."""

    path: ConfigPath | None = Field(None, description="the SQLite database, made when it is not there; or give `url`")
    url: Secret | None = Field(
        None,
        description="postgresql://USER:PASSWORD@HOST/DATABASE, also with several hosts; or give `path`",
    )
    timeout: Duration = Field(
        timedelta(seconds=4),
        ge=timedelta(milliseconds=100),
        description="time to store a record, connecting included; less than [audit] sink_timeout",
    )
    migrate: bool = Field(
        True,
        description="bring the tables up to date at start; false: the start fails until "
        "`timestamp-server audit migrate` has done it",
    )
    digests: bool = Field(True, description="record the digest that was timestamped, which `audit find --digest` needs")
    tokens: bool = Field(False, description="record the whole reply, base64 of its DER; some 2 to 8 KB each")
    refusals: bool = Field(
        True,
        description="record requests that got no token, too; not those that a guard refused (401, 403, 429)",
    )
    seal_interval: Duration = Field(
        timedelta(minutes=1),
        ge=timedelta(seconds=1),
        description="how often all rows of all processes are sealed by a Merkle root",
    )
    probe_interval: Duration = Field(
        timedelta(minutes=1),
        ge=timedelta(seconds=1),
        le=timedelta(hours=1),
        description="how long nothing may be recorded before a probe shows whether it could be",
    )
    key: Secret | None = Field(
        None,
        description="chain the rows by HMAC with this key, so that nobody without it can make them fit again",
    )

    def refuse_longer_than(self, limit: timedelta) -> None:
        """Raise ConfigError unless a call ends before the core's limit, `[audit] sink_timeout`, gives it up."""
        if self.timeout >= limit:
            raise ConfigError(
                f"it must be shorter than [audit] sink_timeout, {limit.total_seconds():g} s",
                path="audit.auditsql.timeout",
            )

    @model_validator(mode="after")
    def _one_database(self) -> Self:
        if (self.path is None) == (self.url is None):
            raise ValueError("give `path` for SQLite or `url` for PostgreSQL, one of them")
        return self
