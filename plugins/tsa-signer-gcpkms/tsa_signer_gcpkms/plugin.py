"""Registers the signer `gcpkms:` and the key encryption keys `gcp-kms:`."""

from __future__ import annotations

from collections.abc import Iterable

from tsa_core.api import KeyEncryptionKey, Provider, Signer, hookimpl
from tsa_signer_gcpkms.options import GcpKekOptions, GcpKmsOptions


def _open(options: GcpKmsOptions) -> Signer:
    from tsa_signer_gcpkms.signer import open_gcp_kms_signer

    return open_gcp_kms_signer(options)


def _open_kek(options: GcpKekOptions) -> KeyEncryptionKey:
    from tsa_signer_gcpkms.kek import open_gcp_kek

    return open_gcp_kek(options)


@hookimpl
def tsa_signers() -> Iterable[Provider[Signer]]:
    """Register the scheme `gcpkms:`."""
    yield Provider(name="gcpkms", summary="A key in Google Cloud KMS", options=GcpKmsOptions, open=_open)


@hookimpl
def tsa_keks() -> Iterable[Provider[KeyEncryptionKey]]:
    """Register the scheme `gcp-kms:`, by Tink's name."""
    yield Provider(name="gcp-kms", summary="A symmetric key in Google Cloud KMS", options=GcpKekOptions, open=_open_kek)
