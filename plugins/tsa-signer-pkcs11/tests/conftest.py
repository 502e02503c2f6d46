"""A token with a key, and a function that opens signers for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tsa_backends.softhsm import PIN, SoftHsm
from tsa_core.api import PublicKey, Signer
from tsa_signer_pkcs11 import plugin as pkcs11_plugin
from tsa_signer_pkcs11.options import Pkcs11Options

Open = Callable[..., Signer]


@pytest.fixture
def open_signer(softhsm: SoftHsm) -> Iterator[Open]:
    [provider] = pkcs11_plugin.tsa_signers()
    opened: list[Signer] = []

    def open_one(uri: str = "pkcs11:token=tsa;object=key", **options: Any) -> Signer:
        table = {"module": softhsm.module, "pin": PIN, "sessions": 4, "uri": uri, **options}
        signer = provider.open(Pkcs11Options.model_validate({k: v for k, v in table.items() if v is not None}))
        opened.append(signer)
        return signer

    yield open_one
    for signer in opened:
        signer.close()


@pytest.fixture
def token(softhsm: SoftHsm) -> str:
    return softhsm.make_token("tsa")


@pytest.fixture
def key(softhsm: SoftHsm, token: str) -> PublicKey:
    return softhsm.make_key(token, "key")
