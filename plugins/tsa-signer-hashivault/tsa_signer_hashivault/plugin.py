"""Registers the signers `hashivault:` and `openbao:`, and the key encryption keys `hcvault:`."""

from __future__ import annotations

from collections.abc import Iterable

from tsa_core.api import KeyEncryptionKey, Provider, Signer, hookimpl
from tsa_signer_hashivault.options import TransitOptions, VaultKekOptions


def _open(options: TransitOptions) -> Signer:
    from tsa_signer_hashivault.signer import open_transit_signer

    return open_transit_signer(options)


def _make_key(options: TransitOptions, kind: str) -> str:
    from tsa_signer_hashivault.making import make_key

    return make_key(options, kind)


def _open_kek(options: VaultKekOptions) -> KeyEncryptionKey:
    from tsa_signer_hashivault.kek import open_vault_kek

    return open_vault_kek(options)


@hookimpl
def tsa_signers() -> Iterable[Provider[Signer]]:
    """Register the schemes `hashivault:` and `openbao:`, which differ in the environment variables they read."""
    for name, server in (("hashivault", "HashiCorp Vault"), ("openbao", "OpenBao")):
        yield Provider(
            name=name,
            summary=f"A key in {server}'s transit engine",
            options=TransitOptions,
            open=_open,
            make_key=_make_key,
        )


@hookimpl
def tsa_keks() -> Iterable[Provider[KeyEncryptionKey]]:
    """Register the scheme `hcvault:`, by Tink's name."""
    yield Provider(
        name="hcvault",
        summary="A key in the transit engine of Vault or OpenBao",
        options=VaultKekOptions,
        open=_open_kek,
    )
