"""Registers the signer `gcpkms:`, the key encryption keys `gcp-kms:` and the certificate authority `gcp:`."""

from __future__ import annotations

from collections.abc import Iterable

from tsa_core.api import CertificateAuthority, ConfigError, KeyEncryptionKey, Provider, Signer, hookimpl, install_hint
from tsa_signer_gcpkms.options import GcpCaOptions, GcpKekOptions, GcpKmsOptions


def _open(options: GcpKmsOptions) -> Signer:
    from tsa_signer_gcpkms.signer import open_gcp_kms_signer

    return open_gcp_kms_signer(options)


def _make_key(options: GcpKmsOptions, kind: str) -> str:
    from tsa_signer_gcpkms.making import make_key

    return make_key(options, kind)


def _open_kek(options: GcpKekOptions) -> KeyEncryptionKey:
    from tsa_signer_gcpkms.kek import open_gcp_kek

    return open_gcp_kek(options)


def _open_authority(options: GcpCaOptions) -> CertificateAuthority:
    try:
        from tsa_signer_gcpkms.authority import open_gcp_authority
    except ImportError as error:
        raise ConfigError(
            f"Google's CA Service needs a library that is not installed ({error.name}): "
            f"{install_hint('tsa-signer-gcpkms[ca]')}"
        ) from None
    return open_gcp_authority(options)


@hookimpl
def tsa_signers() -> Iterable[Provider[Signer]]:
    """Register the scheme `gcpkms:`."""
    yield Provider(
        name="gcpkms", summary="A key in Google Cloud KMS", options=GcpKmsOptions, open=_open, make_key=_make_key
    )


@hookimpl
def tsa_keks() -> Iterable[Provider[KeyEncryptionKey]]:
    """Register the scheme `gcp-kms:`, by Tink's name."""
    yield Provider(name="gcp-kms", summary="A symmetric key in Google Cloud KMS", options=GcpKekOptions, open=_open_kek)


@hookimpl
def tsa_certificate_authorities() -> Iterable[Provider[CertificateAuthority]]:
    """Register `--parent-ca gcp:POOL`, which `--gcp-ca-parent POOL` means too."""
    yield Provider(
        name="gcp", summary="A pool of Google Cloud's CA Service", options=GcpCaOptions, open=_open_authority
    )
