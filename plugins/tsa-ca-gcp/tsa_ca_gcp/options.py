"""The settings of `[certificate_authority.gcp]`."""

from __future__ import annotations

from pydantic import Field

from tsa_core.api import CertificateAuthorityOptions, ConfigPath


class GcpCaOptions(CertificateAuthorityOptions):
    """`[certificate_authority.gcp]`."""

    credentials_file: ConfigPath | None = Field(
        None, description="a service account's key file; else Google's application default credentials"
    )
    endpoint: str = Field("privateca.googleapis.com", description="HOST or HOST:PORT of another endpoint")
    plaintext: bool = Field(
        False, description="speak to the endpoint without TLS and credentials; for a stand-in on this machine"
    )
