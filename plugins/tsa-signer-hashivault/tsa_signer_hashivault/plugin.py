"""Registers the schemes `hashivault:` and `openbao:`."""

from __future__ import annotations

from collections.abc import Iterable

from tsa_core.api import Provider, Signer, hookimpl
from tsa_signer_hashivault.options import TransitOptions


def _open(options: TransitOptions) -> Signer:
    from tsa_signer_hashivault.signer import open_transit_signer

    return open_transit_signer(options)


@hookimpl
def tsa_signers() -> Iterable[Provider[Signer]]:
    """Register the schemes `hashivault:` and `openbao:`, which differ in the environment variables they read."""
    yield Provider(
        name="hashivault", summary="A key in HashiCorp Vault's transit engine", options=TransitOptions, open=_open
    )
    yield Provider(name="openbao", summary="A key in OpenBao's transit engine", options=TransitOptions, open=_open)
