"""Which key and which identity the settings, the URI and the environment mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from azure.identity import AzureAuthorityHosts

from tsa_core.api import ConfigError
from tsa_signer_azurekms.clouds import CLOUDS
from tsa_signer_azurekms.options import AzureOptions
from tsa_signer_azurekms.settings import choose_authority, choose_identity, read_key_uri

PRINCIPAL = {"AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "client"}
SECRET = "secret-0c11"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("azurekms://my-vault.vault.azure.net/tsa", ("https://my-vault.vault.azure.net", "tsa", None)),
        ("azurekms://v.vault.azure.net/tsa/0123abcd", ("https://v.vault.azure.net", "tsa", "0123abcd")),
        ("azurekms://v.vault.azure.net/tsa/", ("https://v.vault.azure.net", "tsa", None)),
        ("AZUREKMS://hsm.managedhsm.azure.net/K-1", ("https://hsm.managedhsm.azure.net", "K-1", None)),
        ("azurekms://127.0.0.1:8443/tsa", ("https://127.0.0.1:8443", "tsa", None)),
        ("azurekms://localhost/tsa", ("https://localhost", "tsa", None)),
        ("azurekms://[::1]:8443/tsa", ("https://[::1]:8443", "tsa", None)),
    ],
)
def test_key_uri_is_read(uri: str, expected: tuple[str, str, str | None]) -> None:
    address, _ = read_key_uri(uri, environ={})
    assert (address.vault_url, address.key, address.version) == expected


@pytest.mark.parametrize(
    "uri",
    [
        "azurekms:",
        "azurekms://",
        "azurekms://v.vault.azure.net",
        "azurekms://v.vault.azure.net/",
        "azurekms://v.vault.azure.net/tsa//",
        "azurekms://v.vault.azure.net/tsa/v/sign",
        "azurekms://v.vault.azure.net/ts%61",
        "azurekms://v.vault.azure.net/tsa?x=1",
        "azurekms://user@v.vault.azure.net/tsa",
        "azurekms:///tsa",
    ],
)
def test_malformed_key_uri_is_refused(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"write azurekms://NAME\.vault\.azure\.net/KEY"):
        read_key_uri(uri, environ={})


def test_vault_without_its_domain_is_refused() -> None:
    with pytest.raises(ConfigError, match="names the vault 'my-vault' without its domain"):
        read_key_uri("azurekms://my-vault/tsa", environ={})


@pytest.mark.parametrize(
    ("name", "cloud", "domain", "authority"),
    [
        ("AzurePublicCloud", "public", "vault.azure.net", "login.microsoftonline.com"),
        ("AZURECLOUD", "public", "vault.azure.net", "login.microsoftonline.com"),
        ("AzureUSGovernment", "usgovernment", "vault.usgovcloudapi.net", "login.microsoftonline.us"),
        ("AZUREUSGOVERNMENTCLOUD", "usgovernment", "vault.usgovcloudapi.net", "login.microsoftonline.us"),
        ("AzureChinaCloud", "china", "vault.azure.cn", "login.chinacloudapi.cn"),
    ],
)
def test_cloud_has_its_authority_and_its_vaults_domain(name: str, cloud: str, domain: str, authority: str) -> None:
    for address, found in (
        read_key_uri("azurekms://my-vault/tsa", environ={"AZURE_ENVIRONMENT": name}),
        read_key_uri("azurekms://my-vault/tsa", cloud, {"AZURE_ENVIRONMENT": "nonsense"}),
        read_key_uri(f"azurekms://my-vault.{domain}/tsa", environ={}),
    ):
        assert (address.vault_url, found.name) == (f"https://my-vault.{domain}", cloud)
        assert choose_authority(AzureOptions(), found, {}) == authority
    _, hsm = read_key_uri(f"azurekms://h.{domain.replace('vault', 'managedhsm')}/tsa", environ={})
    assert hsm.name == cloud


def test_authorities_are_those_of_azures_own_library() -> None:
    hosts = AzureAuthorityHosts
    known = {hosts.AZURE_PUBLIC_CLOUD, hosts.AZURE_GOVERNMENT, hosts.AZURE_CHINA}
    assert {cloud.authority for cloud in CLOUDS.values()} == known


def test_authority_that_is_given_goes_before_the_clouds() -> None:
    options = AzureOptions.model_validate({"authority": "https://login.example.org"})
    environ = {"AZURE_AUTHORITY_HOST": "https://elsewhere.example.org"}
    assert choose_authority(options, CLOUDS["china"], environ) == "https://login.example.org"
    assert choose_authority(AzureOptions(), CLOUDS["china"], environ) == "https://elsewhere.example.org"


def test_cloud_that_is_unknown_or_not_the_vaults_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^AZURE_ENVIRONMENT: 'AzureGermanCloud' is none of Azure's clouds: AzureP"):
        read_key_uri("azurekms://v/tsa", environ={"AZURE_ENVIRONMENT": "AzureGermanCloud"})
    with pytest.raises(ConfigError, match=r"^AZURE_ENVIRONMENT: the vault v.vault.azure.cn is in the cloud 'china', "):
        read_key_uri("azurekms://v.vault.azure.cn/tsa", environ={"AZURE_ENVIRONMENT": "AzurePublicCloud"})
    with pytest.raises(ConfigError, match=r"^signer.azurekms.environment: the vault"):
        read_key_uri("azurekms://v.vault.azure.cn/tsa", "public", {})


@pytest.mark.parametrize(
    ("environ", "kind"),
    [
        ({}, "managed_identity"),
        ({"AZURE_CLIENT_ID": "client"}, "managed_identity"),
        ({**PRINCIPAL, "AZURE_CLIENT_SECRET": SECRET}, "service_principal"),
        ({**PRINCIPAL, "AZURE_FEDERATED_TOKEN_FILE": "/token"}, "workload_identity"),
        ({**PRINCIPAL, "AZURE_CLIENT_SECRET": SECRET, "AZURE_FEDERATED_TOKEN_FILE": "/token"}, "service_principal"),
        ({"AZURE_AUTH_METHOD": "cli"}, "cli"),
        ({**PRINCIPAL, "AZURE_CLIENT_SECRET": SECRET, "AZURE_AUTH_METHOD": "environment"}, "service_principal"),
    ],
)
def test_identity_follows_the_environment(environ: dict[str, str], kind: str) -> None:
    identity = choose_identity(AzureOptions(), environ)
    assert identity.kind == kind
    assert SECRET not in repr(identity)


def test_settings_go_before_the_environment(tmp_path: Path) -> None:
    options = AzureOptions.model_validate(
        {"tenant_id": "mine", "client_secret": "s", "credential": "service_principal"}
    )
    identity = choose_identity(options, {**PRINCIPAL, "AZURE_CLIENT_SECRET": SECRET})
    assert identity.tenant_id == "mine"
    assert identity.client_id == "client"
    assert identity.client_secret is not None
    assert identity.client_secret.get_secret_value() == "s"


@pytest.mark.parametrize(
    ("options", "environ", "message"),
    [
        ({"credential": "service_principal"}, {}, r"^signer\.azurekms\.tenant_id: a service principal needs it"),
        ({"tenant_id": "t", "client_secret": SECRET}, {}, r"^signer\.azurekms\.client_id: .*AZURE_CLIENT_ID"),
        ({"credential": "service_principal"}, PRINCIPAL, "needs a secret or a certificate"),
        ({"client_certificate": "/nonexistent.pem"}, PRINCIPAL, "/nonexistent.pem does not exist"),
        ({"credential": "workload_identity"}, PRINCIPAL, "needs AZURE_FEDERATED_TOKEN_FILE"),
        ({}, {"AZURE_AUTH_METHOD": "environment"}, "tenant_id"),
    ],
)
def test_incomplete_identity_is_refused(options: dict[str, Any], environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        choose_identity(AzureOptions.model_validate(options), environ)
    assert SECRET not in str(caught.value)
