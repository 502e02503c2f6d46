"""A vault with a key, and a function that opens signers for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tsa_backends.key_vault import CLIENT_ID, CLIENT_SECRET, TENANT, KeyVault
from tsa_core.api import PublicKey, Signer
from tsa_signer_azurekms import plugin as azure_plugin
from tsa_signer_azurekms.options import AzureOptions

Open = Callable[..., Signer]


@pytest.fixture
def open_signer(key_vault: KeyVault) -> Iterator[Open]:
    [provider] = azure_plugin.tsa_signers()
    opened: list[Signer] = []

    def open_one(**options: Any) -> Signer:
        table = {
            "uri": f"azurekms://{key_vault.host}/tsa",
            "tenant_id": TENANT,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "authority": key_vault.url,
            "ca_file": key_vault.ca_file,
            "disable_instance_discovery": True,
            "verify_challenge_resource": False,
            "start_timeout": "3s",
            **options,
        }
        signer = provider.open(AzureOptions.model_validate({k: v for k, v in table.items() if v is not None}))
        opened.append(signer)
        return signer

    yield open_one
    for signer in opened:
        signer.close()


@pytest.fixture
def key(key_vault: KeyVault) -> PublicKey:
    return key_vault.make_key("tsa").public_key()
