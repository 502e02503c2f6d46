"""The settings of `[signer.signd]`."""

from __future__ import annotations

from pydantic import Field
from tsa_core.api import ConfigPath, Secret, SignerOptions


class SigndOptions(SignerOptions):
    """`[signer.signd]`; `uri` is the profile's key URI, signd:KEY."""

    socket: ConfigPath = Field(description="the Unix socket of signd")
    pin: Secret = Field(
        description='opens the keys; { env = "NAME" } or { file = "PATH" } keep it out of the configuration'
    )
