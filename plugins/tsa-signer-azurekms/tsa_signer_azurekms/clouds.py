"""The clouds of Azure: who authenticates there, and the domains of their vaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tsa_core.api import ConfigError


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """One of Azure's clouds."""

    name: str
    authority: str
    """The host of Microsoft Entra ID."""
    vault_domain: str
    hsm_domain: str


CLOUDS: Final = {
    cloud.name: cloud
    for cloud in (
        Cloud(
            name="public",
            authority="login.microsoftonline.com",
            vault_domain="vault.azure.net",
            hsm_domain="managedhsm.azure.net",
        ),
        Cloud(
            name="usgovernment",
            authority="login.microsoftonline.us",
            vault_domain="vault.usgovcloudapi.net",
            hsm_domain="managedhsm.usgovcloudapi.net",
        ),
        Cloud(
            name="china",
            authority="login.chinacloudapi.cn",
            vault_domain="vault.azure.cn",
            hsm_domain="managedhsm.azure.cn",
        ),
    )
}
_VARIABLE: Final = "AZURE_ENVIRONMENT"


def named_cloud(text: str) -> Cloud:
    """Return the cloud that a value of AZURE_ENVIRONMENT means; raises ConfigError.

    Case does not count: AzurePublicCloud or AzureCloud, AzureUSGovernment or AzureUSGovernmentCloud, AzureChinaCloud,
    and the names that the setting has.
    """
    name = text.strip().lower().removeprefix("azure").removesuffix("cloud") or "public"
    if name not in CLOUDS:
        raise ConfigError(
            f"{text!r} is none of Azure's clouds: AzurePublicCloud, AzureUSGovernmentCloud, AzureChinaCloud",
            path=_VARIABLE,
        )
    return CLOUDS[name]


def cloud_of_host(host: str) -> Cloud | None:
    """Return the cloud that a vault's host is in, None for a host of no known domain."""
    host = host.lower()
    for cloud in CLOUDS.values():
        if host.endswith((f".{cloud.vault_domain}", f".{cloud.hsm_domain}")):
            return cloud
    return None
