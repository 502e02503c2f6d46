"""The Vault signer makes keys in the transit engine, which gives none of them away."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import pytest

from tsa_backends.openbao import ROOT_TOKEN, OpenBao
from tsa_backends.server_process import free_port
from tsa_core.api import SignerError, SignerUnavailable
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
