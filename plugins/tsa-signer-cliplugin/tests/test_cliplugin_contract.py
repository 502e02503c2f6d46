"""A KMS plugin of sigstore's, as a program, fulfils the contracts of signers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import pytest

from tsa_backends.kms_program import KmsProgram
from tsa_core.api import Provider, Signer
from tsa_core.testing import ProviderContract, SignerContract
from tsa_signer_cliplugin import plugin as cli_plugin

PIN = "4711-secret"


class TestCliProvider(ProviderContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return cli_plugin

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {"environment": {"HSM_PIN": PIN}}

    @pytest.fixture
    def secrets(self) -> list[str]:
        return [PIN]


class TestProgramSigner(SignerContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return cli_plugin

    @pytest.fixture(params=["ecdsa-p256", "rsa-2048"])
    def uri(self, request: pytest.FixtureRequest, program: KmsProgram) -> str:
        return program.make_key(request.param)

    @pytest.fixture
    def provider(self, uri: str) -> Provider[Signer]:
        [provider] = cli_plugin.tsa_signers_of_scheme("demo")
        return provider

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {"environment": {"HSM_PIN": PIN}}

    @pytest.fixture
    def secrets(self) -> list[str]:
        return [PIN]

    @pytest.fixture
    def unreachable_signer(self, open_signer: Callable[..., Signer], program: KmsProgram) -> Signer:
        signer = open_signer()
        program.act("refuse")
        return signer

    @pytest.fixture
    def silent_signer(self, open_signer: Callable[..., Signer], program: KmsProgram) -> Signer:
        signer = open_signer()
        program.act("freeze")
        return signer

    @pytest.fixture
    def nonsense_signer(self, open_signer: Callable[..., Signer], program: KmsProgram) -> Signer:
        signer = open_signer()
        program.replace("cat > /dev/null; echo '<html>Please log in</html>'")
        return signer
