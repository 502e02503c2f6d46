"""Key encryption keys in Vault or OpenBao: the contract, where the server is, which token, what refusals become."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tsa_backends.openbao import ROOT_TOKEN, OpenBao
from tsa_core.api import WRONG_KEK, ConfigError, KeyEncryptionKey, SignerError, SignerUnavailable
from tsa_core.testing import KekContract, ProviderContract
from tsa_signer_hashivault import plugin as plugin_module
from tsa_signer_hashivault.kek import VaultKek, open_vault_kek
from tsa_signer_hashivault.options import VaultKekOptions

PLAINTEXT = b"\x08\x01 as long as a keyset" * 20
TOKEN = "hvs.CAESIJ-a-token-to-search-for"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith(("VAULT_", "BAO_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(scope="module")
def key(openbao: OpenBao) -> str:
    return openbao.make_key("tsa-kek-of-transit", "aes256-gcm96")


def kek_of(uri: str, **settings: Any) -> VaultKek:
    names = {"uri_setting": "signer.tink.key_resource", "settings_prefix": "signer.tink.hcvault_"}
    return open_vault_kek(VaultKekOptions.model_validate({"uri": uri, **names, **settings}))


class TestProvider(ProviderContract):
    kind = "kek"

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return plugin_module

    @pytest.fixture
    def distribution_name(self) -> str:
        return "tsa-signer-hashivault"

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {"address": "https://vault.example.org:8200", "token": "hvs.a-token"}


class TestKek(KekContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return plugin_module

    @pytest.fixture
    def uri(self, key: str) -> str:
        return f"hcvault:///transit/keys/{key}"

    @pytest.fixture
    def options(self, openbao: OpenBao) -> Mapping[str, Any]:
        return {"address": openbao.address, "token": ROOT_TOKEN}

    @pytest.fixture
    def unreachable_kek(self) -> Iterator[KeyEncryptionKey]:
        kek = kek_of("hcvault:///transit/keys/tsa", address="http://127.0.0.1:1", token=ROOT_TOKEN)
        yield kek
        kek.close()


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
def test_address_of_the_server(
    monkeypatch: pytest.MonkeyPatch, uri_host: str, setting: str | None, variable: str, address: str
) -> None:
    monkeypatch.setenv("VAULT_ADDR", variable)
    kek = kek_of(f"hcvault://{uri_host}/a/mount/keys/tsa", address=setting, token=TOKEN)
    with pytest.raises(SignerError, match=rf"^{address}/v1/a/mount/decrypt/tsa: the ciphertext is no Vault's"):
        kek.decrypt(b"\xff no ciphertext of Vault's", timeout=1)
    kek.close()


@pytest.mark.parametrize("address", ["vault.example.org", "https://", f"https://user:{TOKEN}@vault.example.org"])
def test_address_that_is_no_url_is_refused_and_its_password_not_repeated(address: str) -> None:
    with pytest.raises(ConfigError, match=r"^signer.tink.hcvault_address: .*(is not a server's URL|use a token)") as e:
        kek_of("hcvault:///transit/keys/tsa", address=address, token=TOKEN)
    assert TOKEN not in str(e.value)


def test_password_in_the_uri_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="must hold no user and password") as caught:
        kek_of(f"hcvault://user:{TOKEN}@vault.example.org/transit/keys/tsa", token=TOKEN)
    assert TOKEN not in str(caught.value)


def test_address_that_nobody_named_is_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"hcvault_address: the server's address is not known; set it, or VAULT_ADDR"):
        kek_of("hcvault:///transit/keys/tsa", token=TOKEN)


@pytest.mark.parametrize(
    "uri",
    [
        "hcvault://vault.example.org/transit/tsa",
        "hcvault://vault.example.org/keys/tsa",
        "hcvault://vault.example.org/transit/keys/a?b=c",
        "hcvault://",
    ],
)
def test_malformed_uri_is_refused_with_the_right_form(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"^signer.tink.key_resource: .*; write hcvault://HOST:PORT/MOUNT/keys/NAME"):
        kek_of(uri, token=TOKEN)


def test_plain_http_beyond_this_machine_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    kek_of("hcvault:///transit/keys/tsa", address="http://127.0.0.1:8200", token=TOKEN).close()
    assert "is not HTTPS" not in caplog.text
    kek_of("hcvault:///transit/keys/tsa", address="http://vault.example.org", token=TOKEN).close()
    assert "http://vault.example.org is not HTTPS: token and secrets cross the network unprotected" in caplog.text


@pytest.mark.parametrize("source", ["env", "file", "VAULT_TOKEN", "login"])
def test_token_comes_from_where_no_ps_shows_it(
    openbao: OpenBao, key: str, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"address": openbao.address}
    secret = tmp_path / ".vault-token" if source == "login" else tmp_path / "token"
    secret.write_text(f"{ROOT_TOKEN}\n")
    monkeypatch.setenv("VAULT_TOKEN" if source == "VAULT_TOKEN" else "OUR_TOKEN", ROOT_TOKEN)
    if source == "env":
        settings["token"] = {"env": "OUR_TOKEN"}
    if source == "file":
        settings["token"] = {"file": str(secret)}
    kek = kek_of(f"hcvault:///transit/keys/{key}", **settings)
    assert kek.decrypt(kek.encrypt(PLAINTEXT, timeout=10), timeout=10) == PLAINTEXT
    kek.close()


def test_token_that_is_missing_or_malformed_is_said() -> None:
    with pytest.raises(ConfigError, match=r"hcvault_token: there is no token; set VAULT_TOKEN, log in"):
        kek_of("hcvault://v/transit/keys/tsa")
    with pytest.raises(ConfigError, match="characters that no token has") as caught:
        kek_of("hcvault://v/transit/keys/tsa", token=f"{TOKEN} {TOKEN}")
    assert TOKEN not in str(caught.value)


def test_documented_policy_is_enough_and_a_missing_capability_is_named(openbao: OpenBao, key: str) -> None:
    root = kek_of(f"hcvault:///transit/keys/{key}", address=openbao.address, token=ROOT_TOKEN)
    sealed = root.encrypt(PLAINTEXT, timeout=10)
    root.close()
    serving = openbao.make_token(f'path "transit/decrypt/{key}" {{ capabilities = ["update"] }}')
    kek = kek_of(f"hcvault:///transit/keys/{key}", address=openbao.address, token=serving)
    assert kek.decrypt(sealed, timeout=10) == PLAINTEXT
    with pytest.raises(SignerError, match=rf'path "transit/encrypt/{key}" {{ capabilities = \["update"\] }}') as e:
        kek.encrypt(PLAINTEXT, timeout=10)
    assert serving not in str(e.value)
    kek.close()


def test_another_key_of_the_server_is_refused(openbao: OpenBao, key: str) -> None:
    settings = {"address": openbao.address, "token": ROOT_TOKEN}
    kek = kek_of(f"hcvault:///transit/keys/{key}", **settings)
    other = kek_of(f"hcvault:///transit/keys/{openbao.make_key(f'{key}-other', 'aes256-gcm96')}", **settings)
    with pytest.raises(SignerError) as caught:
        other.decrypt(kek.encrypt(PLAINTEXT, timeout=10), timeout=10)
    assert str(caught.value).endswith(WRONG_KEK)
    kek.close()
    other.close()


def test_tls_is_checked_against_the_given_ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = OpenBao(tmp_path, tls=True)
    server.start()
    try:
        server.make_key("tsa", "aes256-gcm96")
        uri = f"hcvault://127.0.0.1:{server.port}/transit/keys/tsa"
        with pytest.raises(SignerError, match=r"TLS failed.*check ca_file"):
            kek_of(uri, token=ROOT_TOKEN).encrypt(PLAINTEXT, timeout=10)
        trusting = kek_of(uri, token=ROOT_TOKEN, ca_file=str(server.ca_file))
        assert trusting.decrypt(trusting.encrypt(PLAINTEXT, timeout=10), timeout=10) == PLAINTEXT
        trusting.close()
        monkeypatch.setenv("VAULT_CACERT", str(server.ca_file))
        by_variable = kek_of(uri, token=ROOT_TOKEN)
        assert by_variable.encrypt(PLAINTEXT, timeout=10).startswith(b"vault:v1:")
        by_variable.close()
        with pytest.raises(ConfigError, match=r"hcvault_ca_file: the file /none\.pem is needed for TLS"):
            kek_of(uri, token=ROOT_TOKEN, ca_file="/none.pem")
    finally:
        server.process.stop()


def test_server_without_tls_behind_a_uri_that_means_tls_is_explained(openbao: OpenBao) -> None:
    kek = kek_of(f"hcvault://127.0.0.1:{openbao.port}/transit/keys/tsa", token=ROOT_TOKEN)
    with pytest.raises(SignerError, match=r"TLS failed.*whether the server speaks TLS"):
        kek.encrypt(PLAINTEXT, timeout=10)
    kek.close()


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"data": {"plaintext": "%%%"}}, "the plaintext in the answer is not base64"),
        ({"data": {"other": 1}}, "the answer is not a Vault server's"),
        ({}, "the answer is not a Vault server's"),
    ],
)
def test_answer_that_no_vault_gives_is_refused(monkeypatch: pytest.MonkeyPatch, answer: Any, problem: str) -> None:
    kek = kek_of("hcvault:///transit/keys/tsa", address="http://127.0.0.1:1", token=TOKEN)
    monkeypatch.setattr(kek._connection._http._adapter, "request", lambda *_, **__: answer)
    with pytest.raises(SignerError, match=problem):
        kek.decrypt(b"vault:v1:AAAA", timeout=1)
    kek.close()


def test_sealed_server_is_unavailable(tmp_path: Path) -> None:
    server = OpenBao(tmp_path)
    server.start()
    try:
        name = server.make_key("tsa", "aes256-gcm96")
        kek = kek_of(f"hcvault:///transit/keys/{name}", address=server.address, token=ROOT_TOKEN)
        server.call("PUT", "sys/seal")
        with pytest.raises(SignerUnavailable, match="sealed"):
            kek.decrypt(b"vault:v1:AAAA", timeout=1)
        kek.close()
    finally:
        server.process.stop()
