"""Registers the memory signer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from tsa_core.api import Provider, Signer, SignerOptions, hookimpl


class MemoryOptions(SignerOptions):
    """`[signer.memory]`."""

    algorithm: Literal[
        "ecdsa-p256",
        "ecdsa-p384",
        "ecdsa-p521",
        "rsa-2048",
        "rsa-3072",
        "rsa-4096",
        "ed25519",
        "ed448",
        "ml-dsa-44",
        "ml-dsa-65",
        "ml-dsa-87",
    ] = Field("ecdsa-p256", description="kind of the key that is made at start")


def _open(options: MemoryOptions) -> Signer:
    from tsa_signer_memory.signer import MemorySigner

    return MemorySigner(options)


@hookimpl
def tsa_signers() -> Iterable[Provider[Signer]]:
    """Register the scheme `memory:`."""
    yield Provider(
        name="memory",
        summary="A new key and test chain at every start; for trial only",
        options=MemoryOptions,
        open=_open,
        fork_safe=True,
        keep_on_reload=True,
    )
