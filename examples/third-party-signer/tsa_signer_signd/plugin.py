"""Registers the signer. tsa-core imports this module to learn about it, so it imports no more than it needs for that."""

from __future__ import annotations

from collections.abc import Iterable

from tsa_core.api import Provider, Signer, hookimpl

from tsa_signer_signd.options import SigndOptions


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
