"""Registers the file signer."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from tsa_core.api import ConfigPath, Provider, Secret, Signer, SignerOptions, hookimpl


class FileOptions(SignerOptions):
    """`[signer.file]`."""

    path: ConfigPath | None = Field(
        None, description="the key's file, when the key URI is only file: (PEM or DER; PKCS #8, PKCS #1 or SEC 1)"
    )
    password: Secret | None = Field(
        None,
        description='of an encrypted key; { env = "NAME" } or { file = "PATH" } keep it out of the configuration',
    )


def _open(options: FileOptions) -> Signer:
    from tsa_signer_file.signer import open_file_signer

    return open_file_signer(options)


@hookimpl
def tsa_signers() -> Iterable[Provider[Signer]]:
    """Register the scheme `file:`."""
    yield Provider(name="file", summary="A private key in a file", options=FileOptions, open=_open, fork_safe=True)
