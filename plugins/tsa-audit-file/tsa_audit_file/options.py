"""The settings of `[audit.auditfile]`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from tsa_core.api import ConfigPath, Duration, PluginOptions, Secret


def _none_text(value: object) -> object:
    return None if value == "none" else value


class AuditFileOptions(PluginOptions):
    """`[audit.auditfile]`."""

    path: ConfigPath = Field(description="the file that is written to; rotated ones get names of their own beside it")
    sync: Literal["always", "interval", "never"] = Field(
        "always",
        description="always: a token leaves when its record is on the disk; interval: the disk follows within "
        "sync_interval; never: when the system sees fit",
    )
    sync_interval: Duration = Field(
        timedelta(seconds=1), description='with sync = "interval", the most that a power failure can take'
    )
    probe_interval: Annotated[Duration | None, BeforeValidator(_none_text)] = Field(
        timedelta(minutes=1),
        description="how long nothing may be recorded before a probe shows whether it could be; "
        '"none": only after a failure, and when the disk seems to be full',
    )
    digests: bool = Field(False, description="record the digest that was timestamped")
    tokens: bool = Field(False, description="record the whole reply, base64 of its DER; some 2 to 8 KB each")
    refusals: bool = Field(
        False,
        description="record requests that got no token too, with the reason; a client can ask for many; "
        "not those that a guard refused (401, 403, 429)",
    )
    max_size: int = Field(268_435_456, ge=0, description="bytes after which a new file is begun; 0: no limit")
    daily: bool = Field(True, description="begin a new file every day (UTC)")
    key: Secret | None = Field(
        None,
        description="chain the lines by HMAC with this key, so that nobody without it can make them fit again",
    )

    @model_validator(mode="after")
    def _interval_has_an_effect(self) -> Self:
        if self.sync != "interval" and self.sync_interval != type(self).model_fields["sync_interval"].default:
            raise ValueError('sync_interval has no effect without sync = "interval"')
        return self
