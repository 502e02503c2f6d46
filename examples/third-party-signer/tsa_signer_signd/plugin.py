"""Registers the signer. tsa-core imports this module to learn about it, so it imports no more than it needs for that."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field
from tsa_core.api import ConfigPath, Provider, Secret, Signer, SignerOptions, hookimpl


class SigndOptions(SignerOptions):
    """`[signer.signd]`; `uri` is the profile's key URI, signd:KEY."""

    socket: ConfigPath = Field(description="the Unix socket of signd")
    pin: Secret = Field(
        description='opens the keys; { env = "NAME" } or { file = "PATH" } keep it out of the configuration'
    )


def _open(options: SigndOptions) -> Signer:
    from tsa_signer_signd.signer import open_signer

    return open_signer(options)


@hookimpl
def tsa_signers() -> Iterable[Provider[Signer]]:
    """Register the scheme `signd:`."""
    yield Provider(
        name="signd",
        summary="Keys in a signing process behind a Unix socket",
        options=SigndOptions,
        open=_open,
    )
