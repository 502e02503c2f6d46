"""Key encryption keys in Google Cloud KMS: the contract, the checksums, and what Google's refusals become."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest

from tsa_backends.gcp_kms import GcpKms, write_service_account
from tsa_core.api import WRONG_KEK, ConfigError, KeyEncryptionKey, SignerError, SignerUnavailable
from tsa_core.testing import KekContract, ProviderContract
from tsa_signer_gcpkms import plugin as plugin_module
from tsa_signer_gcpkms.kek import GcpKek, open_gcp_kek
from tsa_signer_gcpkms.options import GcpKekOptions

PLAINTEXT = b"\x08\x01 as long as a keyset" * 20
KEY = "projects/p/locations/l/keyRings/r/cryptoKeys/k"


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    # Where there are none, Google's library would ask a server of Google's machines for them.
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("HOME", str(tmp_path))


def make_key(server: GcpKms, name: str) -> str:
    return server.make_key(name, "GOOGLE_SYMMETRIC_ENCRYPTION").partition("/cryptoKeyVersions/")[0]


def kek_of(key: str, **settings: Any) -> GcpKek:
    fixed = {
        "uri": f"gcp-kms://{key}",
        "uri_setting": "signer.tink.key_resource",
        "settings_prefix": "signer.tink.gcp_",
    }
    return open_gcp_kek(GcpKekOptions.model_validate({**fixed, **settings}))


@pytest.fixture
def kek(gcp_kms: GcpKms, request: pytest.FixtureRequest) -> Iterator[GcpKek]:
    opened = kek_of(make_key(gcp_kms, request.node.name[:40]), endpoint=gcp_kms.address, plaintext=True)
    yield opened
    opened.close()


class TestProvider(ProviderContract):
    kind = "kek"

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return plugin_module

    @pytest.fixture
    def distribution_name(self) -> str:
        return "tsa-signer-gcpkms"

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {"credentials_file": "/etc/tsa/account.json"}


class TestKek(KekContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return plugin_module

    @pytest.fixture
    def uri(self, gcp_kms: GcpKms) -> str:
        return f"gcp-kms://{make_key(gcp_kms, 'contract-kek')}"

    @pytest.fixture
    def options(self, gcp_kms: GcpKms) -> Mapping[str, Any]:
        return {"endpoint": gcp_kms.address, "plaintext": True}

    @pytest.fixture
    def unreachable_kek(self) -> Iterator[KeyEncryptionKey]:
        kek = kek_of(KEY, endpoint="127.0.0.1:1", plaintext=True)
        yield kek
        kek.close()


def test_checksums_go_along_and_a_damaged_answer_is_not_believed(gcp_kms: GcpKms, kek: GcpKek) -> None:
    sealed = kek.encrypt(PLAINTEXT, timeout=10)
    assert gcp_kms.calls[-1][1].plaintext_crc32c
    assert kek.decrypt(sealed, timeout=10) == PLAINTEXT
    assert gcp_kms.calls[-1][1].ciphertext_crc32c

    def flip(answer: Any) -> None:
        field = "plaintext" if hasattr(answer, "plaintext") else "ciphertext"
        octets = getattr(answer, field)
        setattr(answer, field, octets[:-1] + bytes([octets[-1] ^ 1]))

    def unverified(answer: Any) -> None:
        answer.verified_plaintext_crc32c = False

    faults: list[tuple[str, Callable[[Any], None], Callable[[], bytes]]] = [
        ("Decrypt", flip, lambda: kek.decrypt(sealed, timeout=2)),
        ("Encrypt", flip, lambda: kek.encrypt(PLAINTEXT, timeout=2)),
        ("Encrypt", unverified, lambda: kek.encrypt(PLAINTEXT, timeout=2)),
    ]
    for method, change, call in faults:
        with gcp_kms.changing(method, change), pytest.raises(SignerUnavailable, match=r"arrived (damaged|unverified)"):
            call()


def test_google_that_is_busy_once_is_asked_again(gcp_kms: GcpKms, kek: GcpKek) -> None:
    sealed = kek.encrypt(PLAINTEXT, timeout=10)
    gcp_kms.fail("Decrypt", grpc.StatusCode.UNAVAILABLE)
    assert kek.decrypt(sealed, timeout=10) == PLAINTEXT


def test_what_google_refuses_is_explained(gcp_kms: GcpKms, kek: GcpKek) -> None:
    sealed = kek.encrypt(PLAINTEXT, timeout=10)
    gcp_kms.fail("Decrypt", grpc.StatusCode.PERMISSION_DENIED, "no")
    with pytest.raises(SignerError, match=r"the identity needs cloudkms\.cryptoKeyVersions\.useToDecrypt on this key"):
        kek.decrypt(sealed, timeout=10)
    gcp_kms.fail("Decrypt", grpc.StatusCode.INVALID_ARGUMENT, "no")
    with pytest.raises(SignerError) as caught:
        kek.decrypt(sealed, timeout=10)
    assert str(caught.value).endswith(f"InvalidArgument: no; {WRONG_KEK}")


def test_missing_credentials_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ConfigError,
        match=r"^signer.tink.gcp_credentials_file: no Google credentials: FileNotFoundError; set gcp_credentials_file",
    ):
        kek_of(KEY, credentials_file="/nonexistent.json")
    with pytest.raises(ConfigError, match=r"no Google credentials: .*default credentials were not found"):
        kek_of(KEY)
    secret = write_service_account(tmp_path / "account.json")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
    kek = kek_of(KEY)
    assert secret not in repr(kek)
    kek.close()


def test_without_tls_is_for_this_machine_only() -> None:
    with pytest.raises(ConfigError, match=r"^signer.tink.gcp_plaintext: plaintext is for an emulator on this machine"):
        kek_of(KEY, plaintext=True, endpoint="kms.example.org:80")


@pytest.mark.parametrize("key", ["projects/p/cryptoKeys/k", f"{KEY}/cryptoKeyVersions/1", ""])
def test_malformed_uri_is_refused_with_the_right_form(key: str) -> None:
    with pytest.raises(ConfigError, match=r"^signer.tink.key_resource: .*; write gcp-kms://.* without a version"):
        kek_of(key)
