"""The settings of `[signer.NAME]`, where NAME is the program's: sigstore-kms-NAME."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from tsa_core.api import Duration, Secret, SignerOptions


class CliPluginOptions(SignerOptions):
    """`[signer.NAME]`."""

    open_timeout: Duration = Field(
        timedelta(seconds=20), description="time for the program to tell its public key, at start"
    )
    environment: dict[str, Secret] = Field(
        default_factory=dict,
        description='further variables for the program; { env = "NAME" } or { file = "PATH" } keep a secret out of the '
        "configuration",
    )
