"""The Vault signer makes keys in the transit engine, which gives none of them away."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tsa_backends.openbao import ROOT_TOKEN, OpenBao
from tsa_backends.server_process import free_port
from tsa_core.api import SignerError, SignerUnavailable
from tsa_core.cli.keys.group import keys
from tsa_core.testing import KeyMakingContract
from tsa_signer_hashivault import plugin as plugin_module
from tsa_signer_hashivault.making import make_key
from tsa_signer_hashivault.options import TransitOptions


class TestKeyMaking(KeyMakingContract):
    provider_name = "openbao"
    kinds = ("ecdsa-p384", "ed25519", "rsa-2048")

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return plugin_module

    @pytest.fixture
    def options(self, openbao: OpenBao) -> Mapping[str, Any]:
        return {"address": openbao.address, "token": ROOT_TOKEN}

    @pytest.fixture
    def new_uri(self) -> str:
        return f"openbao://made-{uuid.uuid4().hex}"


def make(address: str, token: str, key: str) -> None:
    make_key(TransitOptions.model_validate({"uri": f"openbao://{key}", "address": address, "token": token}), "ed25519")


def test_a_key_that_was_made_cannot_be_exported(openbao: OpenBao) -> None:
    make(openbao.address, ROOT_TOKEN, "not-exportable")
    record = openbao.call("GET", "transit/keys/not-exportable")
    assert (record["exportable"], record["allow_plaintext_backup"]) == (False, False)


def test_a_token_that_may_not_make_keys_is_told_what_its_policy_lacks(openbao: OpenBao) -> None:
    token = openbao.make_token('path "transit/keys/refused" { capabilities = ["read"] }')
    with pytest.raises(SignerError, match=r'path "transit/keys/refused" \{ capabilities = \["update"\] \}') as caught:
        make(openbao.address, token, "refused")
    assert token not in str(caught.value)


def test_a_server_that_is_gone_is_unavailable() -> None:
    with pytest.raises(SignerUnavailable):
        make(f"http://127.0.0.1:{free_port()}", ROOT_TOKEN, "nowhere")


def test_a_version_that_a_rotation_left_in_place_is_not_destroyed(
    openbao: OpenBao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key URI names the newest version, and the ceremony's key is an older one, until the engine trims it away."""
    monkeypatch.delenv("TSA_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    Path("tsa.toml").write_text(f'[signer.hashivault]\naddress = "{openbao.address}"\ntoken = "{ROOT_TOKEN}"\n')
    key = openbao.make_key("retired")

    def run(command: str, *arguments: str) -> Result:
        flags = ["--config", "tsa.toml", "--key", f"hashivault://{key}", "--attendee", "Ada=officer", *arguments]
        return CliRunner().invoke(keys, [command, *flags])

    def destroy() -> Result:
        return run("destroyed", "--ceremony", "c.json", "--how", "trimmed", "--output", "d.json")

    made = run("ceremony", "--output", "c.json")
    assert made.exit_code == 0, made.output
    openbao.call("POST", f"transit/keys/{key}/rotate", {})
    there = destroy()
    assert (there.exit_code, Path("d.json").exists()) == (1, False)
    assert "the key is still there and can be opened" in there.output
    openbao.call("POST", f"transit/keys/{key}/config", {"min_decryption_version": 2, "min_encryption_version": 2})
    openbao.call("POST", f"transit/keys/{key}/trim", {"min_available_version": 2})
    gone = destroy()
    assert gone.exit_code == 0, gone.output
    assert "another key is there now" in Path("d.json").read_text()
