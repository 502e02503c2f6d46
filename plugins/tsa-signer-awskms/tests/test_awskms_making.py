"""The AWS KMS signer makes keys, and names each by an alias that nothing had."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import pytest

from tsa_backends.ministack import AWS_ENVIRONMENT, Ministack
from tsa_core.api import ConfigError
from tsa_core.testing import KeyMakingContract
from tsa_signer_awskms import plugin as plugin_module
from tsa_signer_awskms.making import make_key
from tsa_signer_awskms.options import AwsKmsOptions


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in AWS_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


class TestKeyMaking(KeyMakingContract):
    kinds = ("ecdsa-p256", "rsa-3072", "ed25519")

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return plugin_module

    @pytest.fixture
    def options(self, ministack: Ministack) -> Mapping[str, Any]:
        return {"endpoint_url": ministack.address}

    @pytest.fixture
    def new_uri(self) -> str:
        return f"awskms:///alias/made-{uuid.uuid4().hex}"


def test_kms_chooses_ids_so_that_a_new_key_needs_an_alias(ministack: Ministack) -> None:
    before = len(ministack.client().list_keys()["Keys"])
    with pytest.raises(ConfigError, match="name it by an alias"):
        make_key(AwsKmsOptions(uri=f"awskms:///{uuid.uuid4()}", endpoint_url=ministack.address), "ecdsa-p256")
    assert len(ministack.client().list_keys()["Keys"]) == before


def test_an_alias_that_is_taken_costs_no_key(ministack: Ministack) -> None:
    options = AwsKmsOptions(uri=f"awskms:///alias/{uuid.uuid4().hex}", endpoint_url=ministack.address)
    make_key(options, "ecdsa-p256")
    before = len(ministack.client().list_keys()["Keys"])
    with pytest.raises(ConfigError, match="names a key already"):
        make_key(options, "ecdsa-p256")
    assert len(ministack.client().list_keys()["Keys"]) == before
