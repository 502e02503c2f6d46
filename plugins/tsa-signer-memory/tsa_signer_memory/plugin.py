"""Registers the memory signer."""

from __future__ import annotations

from collections.abc import Iterable

from tsa_core.api import Provider, Signer, hookimpl
from tsa_signer_memory.options import MemoryOptions


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
