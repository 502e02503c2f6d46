"""Registers the Azure Key Vault signer."""

from __future__ import annotations

from collections.abc import Iterable

from tsa_core.api import Provider, Signer, hookimpl
from tsa_signer_azurekms.options import AzureOptions


def _open(options: AzureOptions) -> Signer:
    from tsa_signer_azurekms.signer import open_azure_signer

    return open_azure_signer(options)


def _make_key(options: AzureOptions, kind: str) -> str:
    from tsa_signer_azurekms.making import make_key

    return make_key(options, kind)


@hookimpl
def tsa_signers() -> Iterable[Provider[Signer]]:
    """Register the scheme `azurekms:`."""
    yield Provider(
        name="azurekms",
        summary="A key in Azure Key Vault or Managed HSM",
        options=AzureOptions,
        open=_open,
        make_key=_make_key,
    )
