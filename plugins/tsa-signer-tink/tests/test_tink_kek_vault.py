"""A KEK in Vault or OpenBao: where the server is, which token, and what its refusals become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hvac
import pytest
import requests

from tsa_backends.openbao import ROOT_TOKEN, OpenBao
from tsa_backends.tink_keks import Kek, vault_kek
from tsa_core.api import ConfigError, SignerError, SignerUnavailable
from tsa_signer_tink.kek import KeyEncryptionKey, open_kek
from tsa_signer_tink.kek_hcvault import VaultKek, _Session
from tsa_signer_tink.options import TinkOptions

PLAINTEXT = b"\x08\x01 as long as a keyset" * 20
TOKEN = "hvs.CAESIJ-a-token-to-search-for"


def kek_of(uri: str, **settings: Any) -> KeyEncryptionKey:
    return open_kek(TinkOptions.model_validate({"key_resource": uri, **settings}))


@pytest.mark.parametrize(
    ("uri_host", "setting", "variable", "address"),
    [
        ("vault.example.org:8200", None, "", "https://vault.example.org:8200"),
        ("vault.example.org:8200", None, "https://elsewhere", "https://vault.example.org:8200"),
        ("127.0.0.1:8200", None, "http://127.0.0.1:8200", "http://127.0.0.1:8200"),
        ("", None, "https://vault.example.org/", "https://vault.example.org"),
        ("vault.example.org", "https://proxy.example.org:8443", "https://elsewhere", "https://proxy.example.org:8443"),
    ],
)
def test_address_of_vault(
    monkeypatch: pytest.MonkeyPatch, uri_host: str, setting: str | None, variable: str, address: str
) -> None:
    monkeypatch.setenv("VAULT_ADDR", variable)
    kek = kek_of(f"hcvault://{uri_host}/a/mount/keys/tsa", hcvault_address=setting, hcvault_token=TOKEN)
    with pytest.raises(SignerError, match=rf"^{address}/v1/a/mount/decrypt/tsa: the keyset was not encrypted by"):
        kek.decrypt(b"\xff no ciphertext of Vault's", b"")
    kek.close()


@pytest.mark.parametrize("address", ["vault.example.org", "https://", f"https://user:{TOKEN}@vault.example.org"])
def test_address_that_is_no_url_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(ConfigError, match="is not a URL without user and password") as caught:
        kek_of("hcvault:///transit/keys/tsa", hcvault_address=address, hcvault_token=TOKEN)
    assert TOKEN not in str(caught.value)


def test_password_in_the_uri_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="must hold no user and password") as caught:
        kek_of(f"hcvault://user:{TOKEN}@vault.example.org/transit/keys/tsa", hcvault_token=TOKEN)
    assert TOKEN not in str(caught.value)


def test_address_that_nobody_named_is_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"hcvault_address: Vault's address is not known.*or set VAULT_ADDR"):
        kek_of("hcvault:///transit/keys/tsa", hcvault_token=TOKEN)


def test_plain_http_beyond_this_machine_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    kek_of("hcvault:///transit/keys/tsa", hcvault_address="http://127.0.0.1:8200", hcvault_token=TOKEN).close()
    assert "is not HTTPS" not in caplog.text
    kek_of("hcvault:///transit/keys/tsa", hcvault_address="http://vault.example.org", hcvault_token=TOKEN).close()
    assert "http://vault.example.org is not HTTPS: token and keyset cross the network unprotected" in caplog.text


@pytest.mark.parametrize("source", ["env", "file", "VAULT_TOKEN", "helper"])
def test_token_comes_from_where_no_ps_shows_it(
    openbao: OpenBao, vault: Kek, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"hcvault_address": openbao.address}
    secret = tmp_path / ".vault-token" if source == "helper" else tmp_path / "token"
    secret.write_text(f"{ROOT_TOKEN}\n")
    monkeypatch.setenv("VAULT_TOKEN" if source == "VAULT_TOKEN" else "OUR_TOKEN", ROOT_TOKEN)
    if source == "env":
        settings["hcvault_token"] = {"env": "OUR_TOKEN"}
    if source == "file":
        settings["hcvault_token"] = {"file": str(secret)}
    kek = kek_of(vault.uri, **settings)
    assert kek.decrypt(vault.aead().encrypt(PLAINTEXT, b""), b"") == PLAINTEXT
    kek.close()


def test_token_that_is_missing_or_malformed_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"hcvault_token: there is no Vault token; set VAULT_TOKEN, or log in"):
        kek_of("hcvault://v/transit/keys/tsa")
    with pytest.raises(ConfigError, match="characters that no token has") as caught:
        kek_of("hcvault://v/transit/keys/tsa", hcvault_token=f"{TOKEN} {TOKEN}")
    assert TOKEN not in str(caught.value)


def test_documented_policy_is_enough_and_a_missing_capability_is_named(openbao: OpenBao, vault: Kek) -> None:
    sealed = vault.aead().encrypt(PLAINTEXT, b"")
    name = vault.uri.rpartition("/")[2]
    serving = openbao.make_token(f'path "transit/decrypt/{name}" {{ capabilities = ["update"] }}')
    kek = kek_of(vault.uri, **{**vault.settings, "hcvault_token": serving})
    assert kek.decrypt(sealed, b"") == PLAINTEXT
    with pytest.raises(SignerError, match=rf'path "transit/encrypt/{name}" {{ capabilities = \["update"\] }}') as e:
        kek.encrypt(PLAINTEXT, b"")
    assert serving not in str(e.value)
    kek.close()


def test_tls_is_checked_against_the_given_ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = OpenBao(tmp_path, tls=True)
    server.start()
    try:
        server.make_key("tsa", "aes256-gcm96")
        uri = f"hcvault://127.0.0.1:{server.port}/transit/keys/tsa"
        with pytest.raises(SignerError, match=r"TLS failed.*check hcvault_ca_file"):
            kek_of(uri, hcvault_token=ROOT_TOKEN).encrypt(PLAINTEXT, b"")
        trusting = kek_of(uri, hcvault_token=ROOT_TOKEN, hcvault_ca_file=str(server.ca_file))
        assert trusting.decrypt(trusting.encrypt(PLAINTEXT, b""), b"") == PLAINTEXT
        trusting.close()
        monkeypatch.setenv("VAULT_CACERT", str(server.ca_file))
        by_variable = kek_of(uri, hcvault_token=ROOT_TOKEN)
        assert by_variable.encrypt(PLAINTEXT, b"").startswith(b"vault:v1:")
        by_variable.close()
        with pytest.raises(ConfigError, match=r"hcvault_ca_file: the file /none\.pem does not exist"):
            kek_of(uri, hcvault_token=ROOT_TOKEN, hcvault_ca_file="/none.pem")
    finally:
        server.process.stop()


def test_server_without_tls_behind_a_uri_that_means_tls_is_explained(openbao: OpenBao) -> None:
    kek = kek_of(f"hcvault://127.0.0.1:{openbao.port}/transit/keys/tsa", hcvault_token=ROOT_TOKEN)
    with pytest.raises(SignerError, match=r"TLS failed.*whether the server speaks TLS"):
        kek.encrypt(PLAINTEXT, b"")
    kek.close()


def test_redirect_out_of_tls_is_not_followed() -> None:
    answer = requests.Response()
    answer.url = "https://vault.example.org/v1/transit/decrypt/tsa"
    onward = requests.Request("POST", "http://vault.example.org/v1/transit/decrypt/tsa").prepare()
    with pytest.raises(requests.exceptions.InvalidURL, match="from https to http"):
        _Session().rebuild_auth(onward, answer)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"data": {"plaintext": "%%%"}}, "the plaintext in the answer is not base64"),
        ({"data": {"other": 1}}, "the answer is not a Vault server's"),
        ({}, "the answer is not a Vault server's"),
    ],
)
def test_answer_that_no_vault_gives_is_refused(monkeypatch: pytest.MonkeyPatch, answer: Any, problem: str) -> None:
    client = hvac.Client(url="http://127.0.0.1:1", token=TOKEN)
    monkeypatch.setattr(client.adapter, "request", lambda *_, **__: answer)
    kek = VaultKek(client, address="http://127.0.0.1:1", mount="transit", key="tsa", timeout=1)
    with pytest.raises(SignerError, match=problem):
        kek.decrypt(b"vault:v1:AAAA", b"")
    kek.close()


def test_sealed_server_is_unavailable(tmp_path: Path) -> None:
    server = OpenBao(tmp_path)
    server.start()
    try:
        kek = vault_kek(server)
        opened = kek_of(kek.uri, **kek.settings, start_timeout="1s")
        server.call("PUT", "sys/seal")
        with pytest.raises(SignerUnavailable, match="sealed"):
            opened.decrypt(b"vault:v1:AAAA", b"")
        opened.close()
    finally:
        server.process.stop()
