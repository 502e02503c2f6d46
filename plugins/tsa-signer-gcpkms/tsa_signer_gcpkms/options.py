"""The settings of `[signer.gcpkms]`, of key encryption keys `gcp-kms://`, and of the CA `gcp`."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from tsa_core.api import CertificateAuthorityOptions, ConfigPath, Duration, KekOptions, SignerOptions


class GcpKmsOptions(SignerOptions):
    """`[signer.gcpkms]`."""

    credentials_file: ConfigPath | None = Field(
        None, description="a service account's key file; else Google's application default credentials"
    )
    endpoint: str = Field("cloudkms.googleapis.com", description="HOST or HOST:PORT of another KMS endpoint")
    plaintext: bool = Field(
        False, description="speak to the endpoint without TLS and credentials; for an emulator on this machine"
    )
    attempts: int | None = Field(
        None,
        ge=1,
        le=100,
        description="most tries of one signature; no limit but signer_timeout unless given",
    )
    start_timeout: Duration = Field(timedelta(seconds=10), description="time for reading the key at start")
    new_keys: Literal["hsm", "software"] = Field(
        "hsm", description="where keys ceremony --make makes keys: in a hardware module, or not"
    )


class GcpKekOptions(KekOptions):
    """Settings of a key encryption key `gcp-kms://`."""

    credentials_file: ConfigPath | None = Field(
        None, description="a service account's key file; else Google's application default credentials"
    )
    endpoint: str = Field("cloudkms.googleapis.com", description="HOST or HOST:PORT of another KMS endpoint")
    plaintext: bool = Field(
        False, description="speak to the endpoint without TLS and credentials; for an emulator on this machine"
    )


class GcpCaOptions(CertificateAuthorityOptions):
    """`[certificate_authority.gcp]`."""

    credentials_file: ConfigPath | None = Field(
        None, description="a service account's key file; else Google's application default credentials"
    )
    endpoint: str = Field("privateca.googleapis.com", description="HOST or HOST:PORT of another endpoint")
    plaintext: bool = Field(
        False, description="speak to the endpoint without TLS and credentials; for a stand-in on this machine"
    )
