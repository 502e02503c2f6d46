"""The memory signer fulfils the contracts, with every kind of key, and brings the reference system's test chain."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from types import ModuleType
from typing import Any, get_args

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tsa_core.api import Signer, UnsupportedKey
from tsa_core.testing import ProviderContract, SignerContract
from tsa_signer_memory import plugin as memory_plugin
from tsa_signer_memory.options import MemoryOptions

ALGORITHMS = get_args(MemoryOptions.model_fields["algorithm"].annotation)


class TestMemoryProvider(ProviderContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return memory_plugin


class TestMemorySigner(SignerContract):
    has_backend = False
    keeps_key = False

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return memory_plugin

    # RSA keys cost seconds each, and differ in nothing but their size.
    @pytest.fixture(params=[name for name in ALGORITHMS if name not in {"rsa-3072", "rsa-4096"}])
    def options(self, request: pytest.FixtureRequest) -> Mapping[str, Any]:
        return {"algorithm": request.param}


def open_memory(**options: Any) -> Signer:
    [provider] = memory_plugin.tsa_signers()
    return provider.open(MemoryOptions.model_validate(options))


def test_default_key_is_p256_as_in_the_reference_system() -> None:
    assert open_memory().details() == {"key": "EC secp256r1, in memory, lost when the process ends"}


def test_rsa_keys_have_the_size_they_are_named_after() -> None:
    assert open_memory(algorithm="rsa-3072").details()["key"].startswith("RSA 3072")


def test_chain_is_that_of_the_reference_system() -> None:
    leaf, intermediate, root = (x509.load_der_x509_certificate(der) for der in open_memory().certificate_chain())
    assert [certificate.subject.rfc4514_string() for certificate in (leaf, intermediate, root)] == [
        "CN=Test TSA Timestamping,O=local",
        "CN=Test TSA Intermediate,O=local",
        "CN=Test TSA Root,O=local",
    ]
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert usage.critical
    assert list(usage.value) == [ExtendedKeyUsageOID.TIME_STAMPING]
    assert (
        ExtendedKeyUsageOID.TIME_STAMPING
        in intermediate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    )
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc > timedelta(days=9 * 365)
    assert root.not_valid_after_utc - root.not_valid_before_utc > timedelta(days=10 * 365)


def test_every_start_makes_another_chain() -> None:
    assert open_memory().certificate_chain() != open_memory().certificate_chain()


def test_contradictions_are_refused() -> None:
    with pytest.raises(UnsupportedKey, match="RSA-PSS was asked for, but the key is EC secp256r1"):
        open_memory(rsa_pss=True)
    with pytest.raises(UnsupportedKey, match="Ed25519 goes with sha512, not with sha256"):
        open_memory(algorithm="ed25519", signature_digest="sha256")


def test_key_dies_with_the_process() -> None:
    script = (
        "from tsa_signer_memory.options import MemoryOptions\n"
        "from tsa_signer_memory.plugin import tsa_signers\n"
        "[p] = tsa_signers()\n"
        "print(p.open(MemoryOptions()).certificate_chain()[0].hex())"
    )
    runs = {subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout for _ in range(2)}
    assert len(runs) == 2
