"""The settings of `[signer.file]`."""

from __future__ import annotations

from pydantic import Field

from tsa_core.api import ConfigPath, Secret, SignerOptions


class FileOptions(SignerOptions):
    """`[signer.file]`."""

    path: ConfigPath | None = Field(
        None, description="the key's file, when the key URI is only file: (PEM or DER; PKCS #8, PKCS #1 or SEC 1)"
    )
    password: Secret | None = Field(
        None,
        description='of an encrypted key; { env = "NAME" } or { file = "PATH" } keep it out of the configuration',
    )
