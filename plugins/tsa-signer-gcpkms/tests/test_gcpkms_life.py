"""What happens to a KMS key, to credentials and to calls while the signer is in use."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tsa_backends.gcp_kms import KEY_RING, GcpKms, write_service_account
from tsa_core.api import ConfigError, Signer, SignerError, SignerUnavailable
from tsa_core.testing import ends_within, new_key
from tsa_signer_gcpkms.options import GcpKmsOptions
from tsa_signer_gcpkms.plugin import tsa_signers

MESSAGE = b"a message"


@pytest.fixture
def open_signer(gcp_kms: GcpKms) -> Iterator[Callable[..., Signer]]:
    opened: list[Signer] = []
    (provider,) = tsa_signers()

    def open_one(name: str, **options: Any) -> Signer:
        table = {"uri": f"gcpkms://{name}", "endpoint": gcp_kms.address, "plaintext": True, **options}
        opened.append(provider.open(GcpKmsOptions.model_validate(table)))
        return opened[-1]

    yield open_one
    for signer in opened:
        signer.close()


def assert_signs(signer: Signer) -> None:
    signature = signer.sign(MESSAGE, timeout=5)
    assert signer.algorithm.is_valid(signer.public_key, signature, MESSAGE)


# -- the key ----------------------------------------------------------------------------------------------------------


def test_the_version_that_the_certificate_certifies_is_found_among_the_others(
    gcp_kms: GcpKms, open_signer: Callable[..., Signer]
) -> None:
    versions = [gcp_kms.make_key("certified", new_key=new_key()) for _ in range(5)]
    key = versions[0].partition("/cryptoKeyVersions")[0]
    second = open_signer(versions[1])
    info = second.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    found = open_signer(key, certified_key=info)
    assert (found.details()["version"], found.public_key) == ("2", second.public_key)
    assert_signs(found)
    # A version that is disabled cannot sign, so the newest is left to the rules for the chain.
    gcp_kms.set_state(versions[1], "DISABLED")
    assert open_signer(key, certified_key=info).details()["version"] == "5"


def test_the_newest_enabled_version_is_pinned(gcp_kms: GcpKms, open_signer: Callable[..., Signer]) -> None:
    versions = [gcp_kms.make_key("rotated", new_key=new_key()) for _ in range(11)]
    key = versions[0].rpartition("/cryptoKeyVersions/")[0]
    gcp_kms.set_state(versions[10], "DISABLED")
    signer = open_signer(key)
    assert signer.details()["version"] == "10"
    gcp_kms.make_key("rotated", new_key=new_key())
    assert_signs(signer)
    assert open_signer(key).details()["version"] == "12"


@pytest.mark.parametrize("form", ["/cryptoKeyVersions/1", "/versions/1"])
def test_a_version_can_be_chosen_in_both_forms(gcp_kms: GcpKms, open_signer: Callable[..., Signer], form: str) -> None:
    gcp_kms.make_key("chosen", new_key=new_key())
    gcp_kms.make_key("chosen", new_key=new_key())
    signer = open_signer(f"{KEY_RING}/cryptoKeys/chosen{form}")
    assert signer.details()["version"] == "1"
    assert_signs(signer)


def test_a_chosen_version_needs_no_permission_to_list(gcp_kms: GcpKms, open_signer: Callable[..., Signer]) -> None:
    version = gcp_kms.make_key("unlisted")
    gcp_kms.calls.clear()
    assert_signs(open_signer(version))
    assert [method for method, _, _ in gcp_kms.calls] == ["GetPublicKey", "AsymmetricSign"]


@pytest.mark.parametrize("state", ["DISABLED", "DESTROY_SCHEDULED"])
def test_a_version_that_is_not_enabled_stops_signing_and_recovers(
    gcp_kms: GcpKms, open_signer: Callable[..., Signer], state: str
) -> None:
    version = gcp_kms.make_key(f"state-{state}")
    signer = open_signer(version)
    gcp_kms.set_state(version, state)
    with pytest.raises(
        SignerError, match=rf"asymmetric_sign {version}: FailedPrecondition: .*not enabled.*{state}"
    ) as e:
        signer.sign(MESSAGE, timeout=5)
    assert not isinstance(e.value, SignerUnavailable)
    with pytest.raises(ConfigError, match="has no version that is enabled"):
        open_signer(version.rpartition("/cryptoKeyVersions/")[0])
    gcp_kms.set_state(version, "ENABLED")
    assert_signs(signer)


@pytest.mark.parametrize(
    ("algorithm", "problem"),
    [
        ("GOOGLE_SYMMETRIC_ENCRYPTION", "is not an asymmetric key"),
        (
            "RSA_DECRYPT_OAEP_2048_SHA256",
            "is of the kind RSA_DECRYPT_OAEP_2048_SHA256, which cannot sign timestamps; create",
        ),
        ("RSA_SIGN_RAW_PKCS1_2048", "is of the kind RSA_SIGN_RAW_PKCS1_2048, which cannot sign timestamps; create"),
    ],
)
def test_a_key_that_cannot_sign_is_refused_and_named(
    gcp_kms: GcpKms, open_signer: Callable[..., Signer], algorithm: str, problem: str
) -> None:
    version = gcp_kms.make_key(f"refused-{algorithm}", algorithm)
    with pytest.raises((ConfigError, SignerError), match=problem) as caught:
        open_signer(version)
    assert version in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_key_that_is_not_there_is_named(open_signer: Callable[..., Signer]) -> None:
    with pytest.raises(SignerError, match=r"list_crypto_key_versions .*/absent: NotFound"):
        open_signer(f"{KEY_RING}/cryptoKeys/absent")


@pytest.mark.parametrize(
    ("algorithm", "profile", "problem"),
    [
        ("EC_SIGN_P256_SHA256", {"signature_digest": "sha384"}, "signs with sha256; signer_hash says sha384"),
        (
            "RSA_SIGN_PKCS1_4096_SHA512",
            {"signature_digest": "sha256"},
            "signs with sha512; signer_hash says sha256",
        ),
        ("RSA_SIGN_PSS_2048_SHA256", {}, "signs with RSA-PSS; set rsa_pss = true"),
        ("RSA_SIGN_PKCS1_2048_SHA256", {"rsa_pss": True}, "does not sign with RSA-PSS"),
    ],
)
def test_a_profile_that_contradicts_the_key_is_a_config_error(
    gcp_kms: GcpKms, open_signer: Callable[..., Signer], algorithm: str, profile: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        open_signer(gcp_kms.make_key(f"contradicted-{algorithm}", algorithm), **profile)


def test_the_digest_that_the_key_fixes_is_used(gcp_kms: GcpKms, open_signer: Callable[..., Signer]) -> None:
    signer = open_signer(gcp_kms.make_key("sha512", "RSA_SIGN_PKCS1_4096_SHA512"))
    assert signer.algorithm.name == "rsa-pkcs1v15-sha512"
    assert_signs(signer)


# -- integrity --------------------------------------------------------------------------------------------------------


def spoil_signature(answer: Any) -> None:
    answer.signature = bytes([answer.signature[0] ^ 1]) + answer.signature[1:]


def spoil_checksum(answer: Any) -> None:
    answer.signature_crc32c = 1


def forget_checksum(answer: Any) -> None:
    answer.signature_crc32c = None


def deny_digest(answer: Any) -> None:
    answer.verified_digest_crc32c = False


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (spoil_signature, "the signature arrived damaged"),
        (spoil_checksum, "the signature arrived damaged"),
        (forget_checksum, "the signature arrived damaged"),
        (deny_digest, "the request arrived unverified"),
    ],
)
def test_a_damaged_answer_is_refused(
    gcp_kms: GcpKms, open_signer: Callable[..., Signer], change: Callable[[Any], None], problem: str
) -> None:
    signer = open_signer(gcp_kms.make_key("damaged"))
    with gcp_kms.changing("AsymmetricSign", change), pytest.raises(SignerUnavailable, match=problem):
        signer.sign(MESSAGE, timeout=0.5)
    assert_signs(signer)


def test_an_unverified_message_is_refused_too(gcp_kms: GcpKms, open_signer: Callable[..., Signer]) -> None:
    signer = open_signer(gcp_kms.make_key("damaged-data", "EC_SIGN_ED25519"))

    def deny(answer: Any) -> None:
        answer.verified_data_crc32c = False

    with gcp_kms.changing("AsymmetricSign", deny), pytest.raises(SignerUnavailable, match="arrived unverified"):
        signer.sign(MESSAGE, timeout=0.5)


@pytest.mark.parametrize("method", ["AsymmetricSign", "GetPublicKey"])
def test_an_answer_of_another_version_is_refused(
    gcp_kms: GcpKms, open_signer: Callable[..., Signer], method: str
) -> None:
    version = gcp_kms.make_key("renamed")

    def rename(answer: Any) -> None:
        answer.name = version[:-1] + "9"

    with gcp_kms.changing(method, rename), pytest.raises(SignerError, match="cryptoKeyVersions/9' answered"):
        open_signer(version).sign(MESSAGE, timeout=5)


def test_a_damaged_public_key_is_refused(gcp_kms: GcpKms, open_signer: Callable[..., Signer]) -> None:
    def spoil(answer: Any) -> None:
        answer.pem = answer.pem.replace("M", "N", 1)

    with gcp_kms.changing("GetPublicKey", spoil), pytest.raises(SignerUnavailable, match="public key arrived damaged"):
        open_signer(gcp_kms.make_key("damaged-key"), start_timeout="500ms")


def test_only_a_digest_and_its_checksum_leave_the_machine(gcp_kms: GcpKms, open_signer: Callable[..., Signer]) -> None:
    signer = open_signer(gcp_kms.make_key("digest"))
    gcp_kms.calls.clear()
    assert_signs(signer)
    ((_, request, _),) = gcp_kms.calls
    assert request.digest.sha256 == hashlib.sha256(MESSAGE).digest()
    assert request.digest_crc32c
    assert not request.data


# -- calls ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL", "ABORTED", "DEADLINE_EXCEEDED"])
def test_a_passing_refusal_is_tried_again(gcp_kms: GcpKms, open_signer: Callable[..., Signer], code: str) -> None:
    signer = open_signer(gcp_kms.make_key("passing"))
    gcp_kms.fail("AsymmetricSign", grpc.StatusCode[code])
    gcp_kms.calls.clear()
    assert_signs(signer)
    assert len(gcp_kms.calls) == 2
    gcp_kms.fail("AsymmetricSign", grpc.StatusCode[code], times=4)
    assert_signs(signer)
    assert len(gcp_kms.calls) == 7
    gcp_kms.fail("AsymmetricSign", grpc.StatusCode[code], times=2)
    with pytest.raises(SignerUnavailable, match=r"injected.*; tried 2 times"):
        open_signer(gcp_kms.make_key("passing"), attempts=2).sign(MESSAGE, timeout=5)


def test_the_delay_that_google_asks_for_is_heeded(gcp_kms: GcpKms, open_signer: Callable[..., Signer]) -> None:
    signer = open_signer(gcp_kms.make_key("quota"))
    gcp_kms.fail("AsymmetricSign", grpc.StatusCode.RESOURCE_EXHAUSTED, wait_seconds=3.5)
    gcp_kms.calls.clear()
    with pytest.raises(SignerUnavailable, match="injected") as caught:
        signer.sign(MESSAGE, timeout=3)
    assert caught.value.retry_after == 3.5
    assert len(gcp_kms.calls) == 1
    assert_signs(signer)


@pytest.mark.parametrize("method", ["AsymmetricSign", "GetPublicKey"])
def test_an_answer_that_is_damaged_once_is_asked_for_again(
    gcp_kms: GcpKms, open_signer: Callable[..., Signer], method: str
) -> None:
    damaged: list[Any] = []

    def spoil_once(answer: Any) -> None:
        if not damaged:
            damaged.append(answer)
            setattr(answer, "pem_crc32c" if method == "GetPublicKey" else "signature_crc32c", None)

    version = gcp_kms.make_key("damaged-once")
    with gcp_kms.changing(method, spoil_once):
        assert_signs(open_signer(version))
    assert damaged


def test_a_missing_permission_is_named_and_not_tried_again(gcp_kms: GcpKms, open_signer: Callable[..., Signer]) -> None:
    version = gcp_kms.make_key("denied")
    signer = open_signer(version)
    for method, permission, call in (
        ("AsymmetricSign", "useToSign", lambda: signer.sign(MESSAGE, timeout=5)),
        ("GetPublicKey", "viewPublicKey", lambda: open_signer(version)),
        ("ListCryptoKeyVersions", "list", lambda: open_signer(f"{KEY_RING}/cryptoKeys/denied")),
    ):
        gcp_kms.calls.clear()
        gcp_kms.fail(method, grpc.StatusCode.PERMISSION_DENIED)
        with pytest.raises(SignerError, match=rf"needs cloudkms.cryptoKeyVersions.{permission} on") as caught:
            call()
        assert not isinstance(caught.value, SignerUnavailable)
        assert len(gcp_kms.calls) == 1


def test_a_backend_that_does_not_answer_is_given_up_in_time(
    gcp_kms: GcpKms, open_signer: Callable[..., Signer]
) -> None:
    signer = open_signer(gcp_kms.make_key("frozen"))
    gcp_kms.freeze()
    try:
        with ends_within(1), ThreadPoolExecutor(16) as pool:
            for future in [pool.submit(signer.sign, MESSAGE, timeout=1) for _ in range(16)]:
                with pytest.raises(SignerUnavailable):
                    future.result(timeout=60)
    finally:
        gcp_kms.thaw()
    assert_signs(signer)


def test_signing_after_close_is_a_signer_error(gcp_kms: GcpKms, open_signer: Callable[..., Signer]) -> None:
    signer = open_signer(gcp_kms.make_key("closed"))
    signer.close()
    with pytest.raises(SignerError):
        signer.sign(MESSAGE, timeout=2)


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["", "projects/p", f"{KEY_RING}/cryptoKeys/", f"{KEY_RING}/cryptoKeys/k/versions/0", f"/{KEY_RING}/cryptoKeys/k"],
)
def test_a_malformed_uri_is_refused_with_the_right_form(open_signer: Callable[..., Signer], path: str) -> None:
    with pytest.raises(ConfigError, match="write gcpkms://projects/PROJECT/locations/"):
        open_signer(path)


def test_plaintext_is_refused_beyond_this_machine(open_signer: Callable[..., Signer]) -> None:
    with pytest.raises(ConfigError, match=r"signer\.gcpkms\.plaintext: plaintext is for an emulator"):
        open_signer(f"{KEY_RING}/cryptoKeys/k", endpoint="cloudkms.example.org:80")


def test_missing_credentials_are_named(
    open_signer: Callable[..., Signer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))
    with pytest.raises(ConfigError, match=r"no Google credentials: .*absent.json.*set credentials_file") as caught:
        open_signer(f"{KEY_RING}/cryptoKeys/k", plaintext=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["not JSON", "cut"])
def test_a_damaged_credentials_file_is_not_quoted(
    open_signer: Callable[..., Signer], tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "account.json"
    secret = write_service_account(path)
    text = path.read_text()
    if damage == "cut":
        account = json.loads(text)
        account["private_key"] = account["private_key"].replace("-----END", "-----XXX")
        path.write_text(json.dumps(account))
    else:
        path.write_text(text[:-20])
    with pytest.raises(ConfigError, match="no Google credentials") as caught:
        open_signer(f"{KEY_RING}/cryptoKeys/k", plaintext=False, credentials_file=path)
    assert secret not in str(caught.value)


def test_nothing_logs_credentials_even_at_debug(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = write_service_account(tmp_path / "account.json")
    (provider,) = tsa_signers()
    options = {"uri": f"gcpkms://{KEY_RING}/cryptoKeys/k", "endpoint": "127.0.0.1:1", "start_timeout": "1s"}
    with pytest.raises(SignerUnavailable) as caught:
        provider.open(GcpKmsOptions.model_validate({**options, "credentials_file": tmp_path / "account.json"}))
    for text in (caplog.text, str(caught.value)):
        assert secret not in text
        assert "Bearer" not in text
