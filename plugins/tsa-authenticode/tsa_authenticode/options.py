"""The settings of `[routes.authenticode]`."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from tsa_core.api import PluginOptions


class AuthenticodeOptions(PluginOptions):
    """`[routes.authenticode]`."""

    paths: dict[str, str] = Field(
        default_factory=dict,
        description='the profile that countersigns at each path: `{ "/authenticode" = "code" }`',
    )
    sha1_paths: dict[str, str] = Field(
        default_factory=dict,
        description="the same with SHA-1, which is broken: for clients that know nothing else, such as Windows XP",
    )

    @model_validator(mode="after")
    def _allow_something_once(self) -> Self:
        if not self.paths and not self.sha1_paths:
            raise ValueError('no profile is allowed to countersign; name one: paths = { "/authenticode" = "PROFILE" }')
        if both := sorted(self.paths.keys() & self.sha1_paths.keys()):
            raise ValueError(f"the path {both[0]} is in paths and in sha1_paths; leave it in one of them")
        return self
