"""The settings of `[signer.tink]`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import Field

from tsa_core.api import ConfigPath, Duration, Secret, SignerOptions


class TinkOptions(SignerOptions):
    """`[signer.tink]`."""

    keyset_path: ConfigPath | None = Field(
        None, description="the encrypted keyset, JSON or binary, when the key URI is only tink:"
    )
    key_resource: str | None = Field(
        None,
        description="the key that encrypts the keyset: gcp-kms://projects/..., aws-kms://arn:aws:kms:... or "
        "hcvault://HOST/MOUNT/keys/NAME",
    )
    kek: dict[str, Any] = Field(
        default_factory=dict,
        repr=False,
        exclude=True,
        description="settings of that key's plugin, as 'plugins show' prints them for the scheme of key_resource; the "
        "settings here that begin with aws_, gcp_ and hcvault_ are other names of the same",
    )
    hcvault_token: Secret | None = Field(
        None,
        description='Vault token; { env = "NAME" } or { file = "PATH" }; else VAULT_TOKEN, else ~/.vault-token',
    )
    hcvault_address: str | None = Field(None, description="Vault's URL; else the host in key_resource, else VAULT_ADDR")
    hcvault_namespace: str | None = Field(None, description="Vault namespace; else VAULT_NAMESPACE")
    hcvault_ca_file: ConfigPath | None = Field(
        None, description="PEM file of the CAs to trust for Vault; else VAULT_CACERT, else the system's"
    )
    aws_profile: str | None = Field(None, description="profile in the AWS configuration files; else AWS_PROFILE")
    aws_endpoint_url: str | None = Field(None, description="URL of another AWS KMS endpoint; else AWS_ENDPOINT_URL_KMS")
    gcp_credentials_file: ConfigPath | None = Field(
        None, description="a service account's key file; else Google's application default credentials"
    )
    gcp_endpoint: str = Field("cloudkms.googleapis.com", description="HOST or HOST:PORT of another Google KMS endpoint")
    gcp_plaintext: bool = Field(
        False, description="speak to gcp_endpoint without TLS and credentials; for an emulator on this machine"
    )
    start_timeout: Duration = Field(timedelta(seconds=10), description="time for decrypting the keyset at start")
    dangerously_allow_cleartext_keyset: bool = Field(
        False, description="sign with a keyset that nothing encrypts: whoever reads the file has the key"
    )
