"""Registers the scheme `gcpkms:`."""

from __future__ import annotations

from collections.abc import Iterable

from tsa_core.api import Provider, Signer, hookimpl
from tsa_signer_gcpkms.options import GcpKmsOptions


def _open(options: GcpKmsOptions) -> Signer:
    from tsa_signer_gcpkms.signer import open_gcp_kms_signer

    return open_gcp_kms_signer(options)


@hookimpl
def tsa_signers() -> Iterable[Provider[Signer]]:
    """Register the scheme `gcpkms:`."""
    yield Provider(name="gcpkms", summary="A key in Google Cloud KMS", options=GcpKmsOptions, open=_open)
