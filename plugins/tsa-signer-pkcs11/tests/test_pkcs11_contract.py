"""The PKCS#11 signer fulfils the contracts with every kind of key, in SoftHSM."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import pytest

from tsa_backends.softhsm import PIN, SoftHsm
from tsa_core.api import Signer
from tsa_core.testing import ProviderContract, SignerContract
from tsa_signer_pkcs11 import plugin as pkcs11_plugin
from tsa_signer_pkcs11.keys import Operation

KINDS = ("ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048", "rsa-3072", "rsa-4096", "ed25519")


class TestPkcs11Provider(ProviderContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return pkcs11_plugin

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {"module": "/usr/lib/vendor.so", "pin": PIN}


class TestPkcs11Signer(SignerContract):
    keeps_time = False  # a call into a module cannot be interrupted; the README says what follows

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return pkcs11_plugin

    @pytest.fixture(params=KINDS)
    def uri(self, request: pytest.FixtureRequest, softhsm: SoftHsm) -> str:
        token = softhsm.make_token("TSA keys")
        softhsm.make_key(token, "signing key", request.param)
        return "pkcs11:token=TSA%20keys;object=signing%20key"

    @pytest.fixture
    def options(self, softhsm: SoftHsm) -> Mapping[str, Any]:
        return {"module": str(softhsm.module), "pin": PIN, "sessions": 4}

    @pytest.fixture
    def unreachable_signer(self, open_signer: Callable[..., Signer], softhsm: SoftHsm) -> Signer:
        signer = open_signer()
        signer.sign(b"while it is there", timeout=self.sign_timeout)
        softhsm.kill()
        return signer

    @pytest.fixture
    def nonsense_signer(self, open_signer: Callable[..., Signer], monkeypatch: pytest.MonkeyPatch) -> Signer:
        signer = open_signer()
        monkeypatch.setattr(Operation, "sign", lambda operation, *_: operation.finish(b"\1"))
        return signer
