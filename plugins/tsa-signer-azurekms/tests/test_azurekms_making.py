"""The Azure signer makes keys, and never another version of one that is there."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import pytest

from tsa_backends.key_vault import CLIENT_ID, CLIENT_SECRET, TENANT, TOKEN_MARK, KeyVault
from tsa_core.api import ConfigError, SignerError, SignerUnavailable
from tsa_core.testing import KeyMakingContract, ends_within
from tsa_signer_azurekms import plugin as azure_plugin
from tsa_signer_azurekms.making import make_key
from tsa_signer_azurekms.options import AzureOptions


@pytest.fixture(autouse=True)
def may_create(key_vault: KeyVault) -> None:
    key_vault.permissions = {"get", "sign", "create"}


def settings(vault: KeyVault) -> dict[str, Any]:
    return {
        "tenant_id": TENANT,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "authority": vault.url,
        "ca_file": str(vault.ca_file),
        "disable_instance_discovery": True,
        "verify_challenge_resource": False,
    }


def make(vault: KeyVault, key: str = "new", kind: str = "ecdsa-p256", **more: Any) -> None:
    table = {"uri": f"azurekms://{vault.host}/{key}", **settings(vault), **more}
    make_key(AzureOptions.model_validate(table), kind)


class TestKeyMaking(KeyMakingContract):
    kinds = ("ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048")

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return azure_plugin

    @pytest.fixture
    def options(self, key_vault: KeyVault) -> Mapping[str, Any]:
        return settings(key_vault)

    @pytest.fixture
    def new_uri(self, key_vault: KeyVault) -> str:
        return f"azurekms://{key_vault.host}/made"


@pytest.mark.parametrize(("more", "hsm"), [({}, True), ({"new_keys": "software"}, False)])
def test_keys_are_made_in_a_module_unless_the_settings_say_otherwise(
    key_vault: KeyVault, more: dict[str, Any], hsm: bool
) -> None:
    make(key_vault, **more)
    [made] = key_vault.keys["new"].values()
    assert made.hsm is hsm
    assert made.operations == ("sign", "verify")


@pytest.mark.parametrize(
    ("key", "kind", "said"),
    [("new", "ed25519", "has no keys of the kind ed25519"), ("new/0123", "ecdsa-p256", "chooses the version")],
)
def test_what_cannot_be_made_is_refused(key_vault: KeyVault, key: str, kind: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make(key_vault, key, kind)
    assert key_vault.requests == []


def test_a_vault_without_modules_is_told_what_to_set(key_vault: KeyVault) -> None:
    key_vault.premium = False
    with pytest.raises(SignerError, match='new_keys = "software"'):
        make(key_vault)
    make(key_vault, new_keys="software")
    assert len(key_vault.keys["new"]) == 1


def test_who_may_not_create_keys_is_told_what_is_missing(key_vault: KeyVault) -> None:
    key_vault.permissions = {"get", "sign"}
    with pytest.raises(SignerError, match=r"it needs the permission keys/create") as caught:
        make(key_vault)
    assert CLIENT_SECRET not in str(caught.value)
    assert TOKEN_MARK not in str(caught.value)


def test_creation_is_asked_for_once(key_vault: KeyVault) -> None:
    """What has no answer may have been done."""
    key_vault.fault = lambda operation: (503, "Busy", "later", {}) if operation == "create" else None
    with pytest.raises(SignerUnavailable, match="create"):
        make(key_vault)
    assert [operation for operation, _ in key_vault.requests].count("create") == 1


def test_a_vault_that_hangs_is_given_up(key_vault: KeyVault) -> None:
    key_vault.freeze()
    with ends_within(60), pytest.raises(SignerUnavailable):
        make(key_vault, start_timeout="300ms")
    assert key_vault.keys == {}
