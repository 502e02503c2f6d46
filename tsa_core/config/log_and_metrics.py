"""The tables `[log]` and `[metrics]`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from tsa_core.config.sections import Table


class LogSettings(Table):
    """`[log]`: what is written to stderr, and how."""

    type: Literal["dev", "prod"] = Field(
        "dev", description="dev: readable lines, coloured on a terminal; prod: one JSON object per line"
    )
    keys: Literal["plain", "gcp", "ecs"] = Field(
        "plain", description="names of the keys in JSON: ours, Google Cloud Logging's, or the Elastic Common Schema's"
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="records below this level are left out"
    )
    access: bool = Field(True, description="one line for each request, at level info")
    digest: bool = Field(
        False, description="write the message digest into the request's line; it may tell what was timestamped"
    )

    @property
    def writes_requests(self) -> bool:
        """Whether there is a line for each request."""
        return self.access and self.level in {"debug", "info"}

    @model_validator(mode="after")
    def _keys_are_of_json(self) -> Self:
        if self.keys != "plain" and self.type != "prod":
            raise ValueError(f'keys = "{self.keys}" has an effect with type = "prod" only, which writes JSON')
        if self.digest and not self.writes_requests:
            raise ValueError("digest has no effect without the line for each request: access = true, at level info")
        return self


class MetricsSettings(Table):
    """`[metrics]`: Prometheus metrics, in a listener of their own."""

    enabled: bool = Field(True, description="count and measure, and serve the metrics at /metrics")
    host: str = Field(
        "127.0.0.1", min_length=1, description="address to listen on; all clients that reach it can read the metrics"
    )
    port: int = Field(2112, ge=0, le=65535, description="TCP port; 0 takes any free one and prints it")
    tenants: int = Field(
        0,
        ge=0,
        le=10_000,
        description="tenants whose requests are counted, the first ones that come; those beyond are counted together "
        "as other; 0: none",
    )

    @model_validator(mode="after")
    def _listens_somewhere(self) -> Self:
        # The host is left out, because container images set it for all.
        if not self.enabled and self.port != type(self).model_fields["port"].default:
            raise ValueError("port has no effect with enabled = false (--metrics=false)")
        return self
