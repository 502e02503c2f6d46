"""The settings of `[signer.azurekms]`."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from tsa_core.api import ConfigPath, Duration, Secret, SignerOptions


class AzureOptions(SignerOptions):
    """`[signer.azurekms]`."""

    credential: Literal["auto", "service_principal", "workload_identity", "managed_identity", "cli"] = Field(
        "auto",
        description="who we are; auto: a service principal or workload identity when its settings or AZURE_ variables "
        "are there, else the machine's managed identity",
    )
    tenant_id: str | None = Field(None, description="directory of the service principal; else AZURE_TENANT_ID")
    client_id: str | None = Field(
        None, description="application, or user-assigned managed identity; else AZURE_CLIENT_ID"
    )
    client_secret: Secret | None = Field(
        None,
        description='of the service principal, { env = "NAME" } or { file = "PATH" }; else AZURE_CLIENT_SECRET',
    )
    client_certificate: ConfigPath | None = Field(
        None,
        description="PEM file with the service principal's certificate and key; else AZURE_CLIENT_CERTIFICATE_PATH",
    )
    environment: Literal["public", "usgovernment", "china"] | None = Field(
        None, description="Azure's cloud; else AZURE_ENVIRONMENT, else the one of the vault's domain"
    )
    authority: str | None = Field(
        None, description="URL of Microsoft Entra ID; else AZURE_AUTHORITY_HOST, else the cloud's"
    )
    disable_instance_discovery: bool = Field(
        False, description="do not ask the public cloud whether the authority is a known one; for private clouds"
    )
    verify_challenge_resource: bool = Field(
        True, description="demand that the vault asks for tokens for its own domain; false for private clouds only"
    )
    api_version: str | None = Field(None, description="version of the Key Vault API; the library's newest unless given")
    ca_file: ConfigPath | None = Field(
        None, description="PEM file of the CAs to trust for TLS; else REQUESTS_CA_BUNDLE, else the system's"
    )
    connections: int = Field(64, ge=1, le=1024, description="connections kept open for signatures at the same time")
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
