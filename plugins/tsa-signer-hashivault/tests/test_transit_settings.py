"""The transit signer's settings: URIs, environment variables and secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tsa_core.api import ConfigError
from tsa_signer_hashivault.options import TransitOptions
from tsa_signer_hashivault.settings import TransitSettings, complete

TOKEN = "hvs.CAESIJ-a-token-to-search-for"


def settings(uri: str = "hashivault://tsa", *, environ: dict[str, str] | None = None, **table: Any) -> TransitSettings:
    given = {"VAULT_ADDR": "https://vault.example.org:8200", "VAULT_TOKEN": TOKEN} if environ is None else environ
    return complete(TransitOptions.model_validate({"uri": uri, **table}), given)


def test_the_environment_of_vault_is_enough() -> None:
    found = settings()
    assert (found.address, found.key, found.mount) == ("https://vault.example.org:8200", "tsa", "transit")
    assert found.token == TOKEN
    assert found.verify is True


def test_settings_go_over_the_environment() -> None:
    found = settings(address="https://other.example.org", token="another", mount="/keys/transit/", namespace="tsa")
    assert (found.address, found.token, found.mount) == ("https://other.example.org", "another", "keys/transit")
    assert found.namespace == "tsa"


def test_mount_path_is_the_reference_systems_variable() -> None:
    environ = {"VAULT_ADDR": "https://v", "VAULT_TOKEN": TOKEN, "TRANSIT_SECRET_ENGINE_PATH": "tsa-keys"}
    assert settings(environ=environ).mount == "tsa-keys"


def test_openbao_prefers_its_own_variables_and_takes_vaults() -> None:
    environ = {"VAULT_ADDR": "https://vault", "BAO_ADDR": "https://bao", "VAULT_TOKEN": TOKEN}
    found = settings("openbao://tsa", environ=environ)
    assert (found.address, found.token) == ("https://bao", TOKEN)
    assert settings("hashivault://tsa", environ=environ).address == "https://vault"


def test_variables_of_openbao_are_read_for_vault_where_its_own_are_not_given() -> None:
    environ = {"BAO_ADDR": "https://bao", "BAO_TOKEN": TOKEN, "BAO_NAMESPACE": "pki"}
    found = settings(environ=environ)
    assert (found.address, found.token, found.namespace) == ("https://bao", TOKEN, "pki")
    found = settings(environ={**environ, "VAULT_ADDR": "https://vault", "VAULT_NAMESPACE": ""})
    assert (found.address, found.token, found.namespace) == ("https://vault", TOKEN, "pki")


def test_token_of_the_login_command_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".vault-token").write_text(f"{TOKEN}\n")
    found = settings(environ={"VAULT_ADDR": "https://vault"})
    assert (found.token, found.token_file) == (TOKEN, tmp_path / ".vault-token")


@pytest.mark.parametrize(
    "uri", ["hashivault://", "hashivault:tsa", "hashivault://a/b", "hashivault://a?b", "openbao://-"]
)
def test_a_malformed_uri_is_refused_with_the_right_form(uri: str) -> None:
    with pytest.raises(ConfigError, match="://NAME"):
        settings(uri)


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"VAULT_TOKEN": TOKEN}, "signer.hashivault.address: the server's address is not known"),
        ({"VAULT_ADDR": "vault.example.org", "VAULT_TOKEN": TOKEN}, "is not a server's URL"),
        ({"VAULT_ADDR": "https://v"}, "signer.hashivault.token: there is no token"),
        ({"VAULT_ADDR": "https://v", "VAULT_TOKEN": "two words"}, "characters that no token has"),
        ({"VAULT_ADDR": "https://v", "VAULT_TOKEN": TOKEN, "VAULT_CACERT": "/none.pem"}, "/none.pem is needed for TLS"),
    ],
)
def test_what_is_missing_or_malformed_is_named(
    environ: dict[str, str], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=problem):
        settings(environ=environ)


def test_client_certificate_needs_its_key(tmp_path: Path) -> None:
    certificate = tmp_path / "client.pem"
    certificate.touch()
    with pytest.raises(ConfigError, match="go together"):
        settings(client_certificate=certificate)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        settings(address=f"https://user:{TOKEN}@vault.example.org")
    assert TOKEN not in str(caught.value)


def test_a_token_is_in_no_repr_and_no_error(tmp_path: Path) -> None:
    assert TOKEN not in repr(settings())
    path = tmp_path / "token"
    path.write_text(f"{TOKEN} {TOKEN}")
    with pytest.raises(ConfigError) as caught:
        settings(token_file=path)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "plain"), [("http://vault", True), ("http://127.0.0.1:8200", False), ("https://vault", False)]
)
def test_plain_http_is_noticed_beyond_this_machine(address: str, plain: bool) -> None:
    assert settings(address=address).plain_http is plain
