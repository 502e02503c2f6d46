"""Which key, and who we are: the options, completed from the environment as Azure's own tools do."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from tsa_core.api import ConfigError
from tsa_signer_azurekms.clouds import CLOUDS, Cloud, cloud_of_host, named_cloud
from tsa_signer_azurekms.options import AzureOptions

_URI: Final = re.compile(
    r"azurekms://(?P<host>[A-Za-z0-9.-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:]+\](?::[0-9]{1,5})?)"
    r"/(?P<key>[A-Za-z0-9-]{1,127})(?:/(?P<version>[A-Za-z0-9]{0,64}))?",
    re.IGNORECASE,
)
_EXAMPLE: Final = "azurekms://NAME.vault.azure.net/KEY, with /VERSION after it if need be"
_WHERE: Final = "signer.azurekms"


@dataclass(frozen=True, kw_only=True)
class KeyAddress:
    """A key in a vault; `version` None means the newest."""

    vault_url: str
    key: str
    version: str | None

    @property
    def text(self) -> str:
        """How messages name it."""
        return f"{self.vault_url}/keys/{self.key}{f'/{self.version}' if self.version else ''}"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who asks for tokens; `kind` is never auto."""

    kind: str
    tenant_id: str | None = None
    client_id: str | None = None
    client_secret: SecretStr | None = field(default=None, repr=False)
    client_certificate: Path | None = None
    token_file: Path | None = None


def read_key_uri(
    uri: str, environment: str | None = None, environ: Mapping[str, str] = os.environ
) -> tuple[KeyAddress, Cloud]:
    """Return the key that `azurekms://HOST/KEY[/VERSION]` names, and the cloud that it is in; raises ConfigError.

    An empty version is none. The cloud is the one that the setting or AZURE_ENVIRONMENT names, else the host's, else
    the public one. A host without a domain gets that of a cloud that is named.
    """
    named = environment or environ.get("AZURE_ENVIRONMENT")
    cloud = (CLOUDS.get(named) or named_cloud(named)) if named else None
    found = _URI.fullmatch(uri)
    if found is None:
        raise ConfigError(f"{uri!r} is not a key URI of this signer; write {_EXAMPLE}")
    host = found["host"]
    if "." not in host and ":" not in host and host.lower() != "localhost":
        if cloud is None:
            raise ConfigError(
                f"{uri!r} names the vault {host!r} without its domain; write {_EXAMPLE}, or set AZURE_ENVIRONMENT"
            )
        host = f"{host}.{cloud.vault_domain}"
    of_host = cloud_of_host(host)
    if cloud and of_host and cloud != of_host:
        raise ConfigError(
            f"the vault {host} is in the cloud {of_host.name!r}, but {named!r} is set; correct the one that is wrong",
            path=f"{_WHERE}.environment" if environment else "AZURE_ENVIRONMENT",
        )
    address = KeyAddress(vault_url=f"https://{host}", key=found["key"], version=found["version"] or None)
    return address, cloud or of_host or CLOUDS["public"]


def choose_authority(options: AzureOptions, cloud: Cloud, environ: Mapping[str, str] = os.environ) -> str:
    """Return the host or URL of Microsoft Entra ID."""
    return options.authority or environ.get("AZURE_AUTHORITY_HOST") or cloud.authority


def choose_identity(options: AzureOptions, environ: Mapping[str, str] = os.environ) -> Identity:
    """Return who we are; raises ConfigError for what is missing.

    Chosen once and not by trial at each request, as Azure's DefaultAzureCredential would: while the right way is
    down, that starts programs and asks addresses which have no answer.
    """
    tenant = options.tenant_id or environ.get("AZURE_TENANT_ID") or None
    client = options.client_id or environ.get("AZURE_CLIENT_ID") or None
    secret = options.client_secret or (
        SecretStr(environ["AZURE_CLIENT_SECRET"]) if environ.get("AZURE_CLIENT_SECRET") else None
    )
    certificate = options.client_certificate or _path(environ.get("AZURE_CLIENT_CERTIFICATE_PATH"))
    token_file = _path(environ.get("AZURE_FEDERATED_TOKEN_FILE"))
    kind: str = options.credential
    if kind == "auto" and environ.get("AZURE_AUTH_METHOD") in {"environment", "cli"}:
        # The reference system's way to say it.
        kind = "cli" if environ["AZURE_AUTH_METHOD"] == "cli" else "service_principal"
    if kind == "auto":
        kind = (
            "service_principal" if secret or certificate else "workload_identity" if token_file else "managed_identity"
        )
    if kind in {"cli", "managed_identity"}:
        return Identity(kind=kind, tenant_id=tenant, client_id=client if kind == "managed_identity" else None)
    for name, value in (("tenant_id", tenant), ("client_id", client)):
        if value is None:
            raise ConfigError(
                f"a {kind.replace('_', ' ')} needs it; set it, or AZURE_{name.upper()}", path=f"{_WHERE}.{name}"
            )
    if kind == "workload_identity":
        if token_file is None:
            raise ConfigError(
                "a workload identity needs AZURE_FEDERATED_TOKEN_FILE, which the cluster sets",
                path=f"{_WHERE}.credential",
            )
        return Identity(kind=kind, tenant_id=tenant, client_id=client, token_file=token_file)
    if secret is None and certificate is None:
        raise ConfigError(
            "a service principal needs a secret or a certificate; set client_secret or client_certificate, or "
            "AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH",
            path=f"{_WHERE}.client_secret",
        )
    if secret is None and certificate is not None and not certificate.is_file():
        raise ConfigError(f"the file {certificate} does not exist", path=f"{_WHERE}.client_certificate")
    return Identity(
        kind=kind,
        tenant_id=tenant,
        client_id=client,
        client_secret=secret,
        client_certificate=None if secret else certificate,
    )


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
