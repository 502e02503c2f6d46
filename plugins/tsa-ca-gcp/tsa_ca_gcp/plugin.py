"""Registers the certificate authority `gcp`."""

from __future__ import annotations

from collections.abc import Iterable

from tsa_ca_gcp.options import GcpCaOptions
from tsa_core.api import CertificateAuthority, Provider, hookimpl


def _open(options: GcpCaOptions) -> CertificateAuthority:
    from tsa_ca_gcp.authority import open_gcp_authority

    return open_gcp_authority(options)


@hookimpl
def tsa_certificate_authorities() -> Iterable[Provider[CertificateAuthority]]:
    """Register `--parent-ca gcp:POOL`, which `--gcp-ca-parent POOL` means too."""
    yield Provider(name="gcp", summary="A pool of Google Cloud's CA Service", options=GcpCaOptions, open=_open)
