"""Registers the certificate authority `gcp`."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from tsa_core.api import CertificateAuthority, CertificateAuthorityOptions, ConfigPath, Provider, hookimpl


class GcpCaOptions(CertificateAuthorityOptions):
    """`[certificate_authority.gcp]`."""

    credentials_file: ConfigPath | None = Field(
        None, description="a service account's key file; else Google's application default credentials"
    )
    endpoint: str = Field("privateca.googleapis.com", description="HOST or HOST:PORT of another endpoint")
    plaintext: bool = Field(
        False, description="speak to the endpoint without TLS and credentials; for a stand-in on this machine"
    )


def _open(options: GcpCaOptions) -> CertificateAuthority:
    from tsa_ca_gcp.authority import open_gcp_authority

    return open_gcp_authority(options)


@hookimpl
def tsa_certificate_authorities() -> Iterable[Provider[CertificateAuthority]]:
    """Register `--parent-ca gcp:POOL`, which `--gcp-ca-parent POOL` means too."""
    yield Provider(name="gcp", summary="A pool of Google Cloud's CA Service", options=GcpCaOptions, open=_open)
