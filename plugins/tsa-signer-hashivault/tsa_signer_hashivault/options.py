"""The settings of `[signer.hashivault]` and `[signer.openbao]`, and of key encryption keys `hcvault://`."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from tsa_core.api import ConfigPath, Duration, KekOptions, PluginOptions, Secret, SignerOptions


class LoginOptions(PluginOptions):
    """How to log in, where no token is given; common to signers and key encryption keys."""

    login: Literal["approle", "kubernetes", "jwt"] | None = Field(
        None, description="get the token by logging in: by an AppRole, a Kubernetes service account, or a JWT"
    )
    login_mount: str | None = Field(None, description="path of the auth method; its name unless given")
    role: str | None = Field(None, description="role of a login by kubernetes or jwt; jwt: else the method's default")
    role_id: str | None = Field(None, description="role_id of a login by approle")
    secret_id: Secret | None = Field(
        None, description='secret_id of a login by approle; { env = "NAME" } or { file = "PATH" }, read at start'
    )
    secret_id_file: ConfigPath | None = Field(None, description="a file with the secret_id, read at each login")
    jwt: Secret | None = Field(None, description='JWT of a login by jwt; { env = "NAME" } or { file = "PATH" }')
    jwt_file: ConfigPath | None = Field(
        None,
        description="a file with the JWT, read at each login; kubernetes: the service account's token unless given",
    )


class TransitOptions(LoginOptions, SignerOptions):
    """`[signer.hashivault]` and `[signer.openbao]`."""

    address: str | None = Field(
        None, description="the server's URL; else VAULT_ADDR, else BAO_ADDR (openbao: BAO_ADDR first)"
    )
    token: Secret | None = Field(
        None,
        description='the token; { env = "NAME" } or { file = "PATH" }; else token_file, VAULT_TOKEN, '
        "BAO_TOKEN (openbao: BAO_TOKEN first) or ~/.vault-token",
    )
    token_file: ConfigPath | None = Field(
        None, description="a file that an agent keeps a token in; read again when the server refuses the token"
    )
    renew_token: bool = Field(True, description="renew a renewable token, and log in again, before it ends")
    mount: str | None = Field(
        None, description="path of the transit engine; else TRANSIT_SECRET_ENGINE_PATH, else transit"
    )
    namespace: str | None = Field(
        None, description="namespace; else VAULT_NAMESPACE, BAO_NAMESPACE (openbao: reversed)"
    )
    key_version: int | None = Field(
        None, ge=1, description="version of the key; the one that the certificate certifies unless given"
    )
    ca_file: ConfigPath | None = Field(
        None, description="PEM file of the CAs to trust for TLS; else VAULT_CACERT, else the system's"
    )
    client_certificate: ConfigPath | None = Field(
        None, description="PEM certificate for TLS client authentication; else VAULT_CLIENT_CERT"
    )
    client_key: ConfigPath | None = Field(None, description="PEM key of client_certificate; else VAULT_CLIENT_KEY")
    connections: int = Field(32, ge=1, le=1024, description="connections kept open for signatures at the same time")
    attempts: int | None = Field(
        None,
        ge=1,
        le=100,
        description="most tries of one signature; no limit but signer_timeout unless given",
    )
    start_timeout: Duration = Field(timedelta(seconds=10), description="time for reading the key at start")


class VaultKekOptions(LoginOptions, KekOptions):
    """Settings of a key encryption key `hcvault://`."""

    address: str | None = Field(
        None, description="the server's URL; else the host in the key's URI, else VAULT_ADDR or BAO_ADDR"
    )
    token: Secret | None = Field(
        None,
        description='the token; { env = "NAME" } or { file = "PATH" }; else VAULT_TOKEN, BAO_TOKEN or ~/.vault-token',
    )
    namespace: str | None = Field(None, description="namespace; else VAULT_NAMESPACE or BAO_NAMESPACE")
    ca_file: ConfigPath | None = Field(
        None, description="PEM file of the CAs to trust for TLS; else VAULT_CACERT, else the system's"
    )
