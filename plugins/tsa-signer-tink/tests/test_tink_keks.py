"""The three KMS: how their keys are named and reached, and what their refusals become."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from botocore.stub import Stubber

from tsa_backends.gcp_kms import GcpKms, write_service_account
from tsa_backends.ministack import SECRET_KEY, Ministack
from tsa_backends.openbao import ROOT_TOKEN
from tsa_backends.tink_keks import Kek, gcp_kek
from tsa_core.api import ConfigError, SignerError, SignerUnavailable, TsaError
from tsa_core.testing import ends_within
from tsa_signer_tink.kek import KeyEncryptionKey, open_kek
from tsa_signer_tink.kek_awskms import AwsKek
from tsa_signer_tink.options import TinkOptions

PLAINTEXT = b"\x08\x01 as long as a keyset" * 20
TOKEN = "hvs.CAESIJ-a-token-to-search-for"
ARN = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def kek_of(uri: str, **settings: Any) -> KeyEncryptionKey:
    return open_kek(TinkOptions.model_validate({"key_resource": uri, **settings}))


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port of 127.0.0.1 that takes connections and answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


# -- what all three do ------------------------------------------------------------------------------------------------


def test_what_one_side_encrypts_the_other_decrypts(kek: Kek) -> None:
    ours, tinks = kek_of(kek.uri, **kek.settings), kek.aead()
    sealed = ours.encrypt(PLAINTEXT, b"")
    assert PLAINTEXT not in sealed
    assert ours.decrypt(sealed, b"") == tinks.decrypt(sealed, b"") == PLAINTEXT
    assert ours.decrypt(tinks.encrypt(PLAINTEXT, b""), b"") == PLAINTEXT
    ours.close()
    ours.close()


def test_associated_data_are_refused_rather_than_left_out(kek: Kek) -> None:
    """Whoever passes some would believe that the ciphertext is bound to them."""
    opened = kek_of(kek.uri, **kek.settings)
    sealed = opened.encrypt(PLAINTEXT, b"")
    with pytest.raises(SignerError, match="without associated data"):
        opened.encrypt(PLAINTEXT, b"bound")
    with pytest.raises(SignerError, match="without associated data"):
        opened.decrypt(sealed, b"bound")
    opened.close()


def test_another_key_of_the_same_kms_is_refused(kek: Kek) -> None:
    sealed = kek.aead().encrypt(PLAINTEXT, b"")
    other = kek_of(kek.other_uri, **kek.settings)
    if kek.uri.startswith("aws-kms:"):
        # ministack gives noise where AWS says IncorrectKeyException.
        assert other.decrypt(sealed, b"") != PLAINTEXT
    else:
        with pytest.raises(SignerError, match="is this the key that encrypted the keyset") as caught:
            other.decrypt(sealed, b"")
        assert not isinstance(caught.value, SignerUnavailable)
    other.close()


def test_key_that_is_not_there_is_named(kek: Kek) -> None:
    absent, sealed = kek_of(f"{kek.uri[:-4]}zzzz", **kek.settings), kek.aead().encrypt(PLAINTEXT, b"")
    with pytest.raises(SignerError, match=r"not found") as caught:
        # ministack looks into the ciphertext for a key that it knows, Vault makes a key that it is to encrypt with.
        _ = absent.encrypt(PLAINTEXT, b"") if "aws" in kek.uri else absent.decrypt(sealed, b"")
    assert "zzzz" in str(caught.value)
    assert "\n" not in str(caught.value)
    absent.close()


@pytest.mark.parametrize("server", ["vault", "aws", "gcp"])
def test_kms_that_is_silent_or_gone_is_unavailable_in_time(server: str, silent_port: int) -> None:
    uri = {
        "vault": "hcvault:///transit/keys/tsa",
        "aws": f"aws-kms://{ARN}",
        "gcp": "gcp-kms://projects/p/locations/l/keyRings/r/cryptoKeys/k",
    }[server]
    for port in (silent_port, 1):
        settings = {
            "hcvault_address": f"http://127.0.0.1:{port}",
            "hcvault_token": TOKEN,
            "aws_endpoint_url": f"http://127.0.0.1:{port}",
            "gcp_endpoint": f"127.0.0.1:{port}",
            "gcp_plaintext": True,
            "start_timeout": "1s",
        }
        kek = kek_of(uri, **settings)
        with ends_within(1), pytest.raises(SignerUnavailable) as caught:
            kek.decrypt(b"vault:v1:AAAA", b"")
        assert "\n" not in str(caught.value)
        assert TOKEN not in str(caught.value)
        kek.close()


def test_nothing_that_was_decrypted_is_logged_even_at_debug(kek: Kek, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("botocore", "google", "google.cloud.kms_v1", "google.api_core"):
        caplog.set_level(logging.DEBUG, logger=name)
    secret = b"private-scalar-5e1f0c" * 4
    opened = kek_of(kek.uri, **kek.settings)
    assert opened.decrypt(kek.aead().encrypt(secret, b""), b"") == secret
    opened.close()
    # In base64, hexadecimal or as it is; of whatever part.
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("tsa_backends")]
    assert not [line for line in ours if "cHJpdmF0ZS1zY2FsYXIt" in line or "private-scalar" in line]
    assert ROOT_TOKEN not in caplog.text
    assert SECRET_KEY not in caplog.text
    assert not [text for text in (repr(opened), str(vars(opened))) if ROOT_TOKEN in text]


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        (
            None,
            r"the key that decrypts the keyset is not named; set it, or .*TSA_SIGNER__TINK__KEY_RESOURCE: gcp-kms://",
        ),
        ("azure-kms://vault/key", r"names no KMS that is known here; write gcp-kms://"),
        ("hcvault://vault.example.org/transit/tsa", r"is not such a key's URI; write hcvault://HOST:PORT/MOUNT/keys/"),
        ("hcvault://vault.example.org/keys/tsa", r"is not such a key's URI"),
        ("hcvault://vault.example.org/transit/keys/a?b=c", r"is not such a key's URI"),
        ("aws-kms://alias/tsa", r"is not such a key's URI; write aws-kms://arn:aws:kms:REGION"),
        (f"aws-kms:///{ARN}", r"is not such a key's URI"),
        ("gcp-kms://projects/p/cryptoKeys/k", r"is not such a key's URI; write gcp-kms://projects"),
        (
            "gcp-kms://projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1",
            r"is not such a key's URI; write gcp-kms://.*without a version",
        ),
    ],
)
def test_malformed_uri_is_refused_with_the_right_form(uri: str | None, problem: str) -> None:
    with pytest.raises(ConfigError, match=rf"^signer\.tink\.key_resource: .*{problem}") as caught:
        kek_of(uri or "", hcvault_token=TOKEN)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "sdk", "extra"),
    [
        ("hcvault:///transit/keys/tsa", "hvac", "hcvault"),
        (f"aws-kms://{ARN}", "boto3", "awskms"),
        ("gcp-kms://projects/p/locations/l/keyRings/r/cryptoKeys/k", "google_crc32c", "gcpkms"),
    ],
)
def test_missing_sdk_is_named_with_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, uri: str, sdk: str, extra: str
) -> None:
    for name in [n for n in sys.modules if n == sdk or n.startswith((f"{sdk}.", f"tsa_signer_tink.kek_{extra}"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, sdk, None)
    with pytest.raises(ConfigError, match=rf"an SDK that is not installed .*pip install 'tsa-signer-tink\[{extra}"):
        kek_of(uri, hcvault_token=TOKEN)


# -- AWS --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status", "kind", "hint"),
    [
        ("IncorrectKeyException", 400, SignerError, "is this the key that encrypted the keyset"),
        ("InvalidCiphertextException", 400, SignerError, "is this the key that encrypted the keyset"),
        ("AccessDeniedException", 400, SignerError, "the identity needs the IAM action kms:Decrypt on this key"),
        ("InvalidKeyUsageException", 400, SignerError, "must have key usage ENCRYPT_DECRYPT"),
        ("SomethingNewException", 400, SignerError, "SomethingNewException"),
        ("ThrottlingException", 400, SignerUnavailable, "ThrottlingException"),
        ("SomethingNewException", 503, SignerUnavailable, "SomethingNewException"),
    ],
)
def test_what_aws_refuses_is_explained(
    ministack: Ministack, code: str, status: int, kind: type[TsaError], hint: str
) -> None:
    client = ministack.client()
    kek = AwsKek(client, arn=ARN, timeout=4)
    with Stubber(client) as stub:
        for _ in range(3):
            stub.add_client_error("decrypt", code, "no", http_status_code=status)
        with pytest.raises(SignerError, match=rf"AWS kms:Decrypt with {ARN}: {code}: no.*{hint}|{hint}: no") as caught:
            kek.decrypt(b"sealed", b"")
    assert type(caught.value) is kind
    kek.close()


def test_aws_is_asked_for_the_key_by_name_so_that_no_other_answers(ministack: Ministack) -> None:
    client = ministack.client()
    with Stubber(client) as stub:
        expected = {"KeyId": ARN, "CiphertextBlob": b"sealed"}
        stub.add_response("decrypt", {"KeyId": ARN, "Plaintext": PLAINTEXT}, expected)
        assert AwsKek(client, arn=ARN, timeout=1).decrypt(b"sealed", b"") == PLAINTEXT
        stub.add_response("decrypt", {"KeyId": ARN}, expected)
        with pytest.raises(SignerError, match="the answer holds no Plaintext"):
            AwsKek(client, arn=ARN, timeout=1).decrypt(b"sealed", b"")
    client.close()


def test_disabled_aws_key_is_explained(ministack: Ministack, aws: Kek) -> None:
    arn = aws.other_uri.removeprefix("aws-kms://")
    client = ministack.client()
    client.disable_key(KeyId=arn)
    kek = kek_of(aws.other_uri, **aws.settings)
    try:
        with pytest.raises(SignerError, match=r"DisabledException.*aws kms enable-key"):
            kek.encrypt(PLAINTEXT, b"")
    finally:
        client.enable_key(KeyId=arn)
        client.close()
        kek.close()


def test_missing_aws_credentials_and_profiles_are_said(aws: Kek, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"aws_profile: The config profile \(none\) could not be found"):
        kek_of(aws.uri, aws_profile="none", **aws.settings)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    kek = kek_of(aws.uri, **aws.settings)
    with pytest.raises(SignerError, match=r"Unable to locate credentials; give AWS credentials by the environment"):
        kek.decrypt(b"sealed", b"")
    kek.close()


def test_aws_endpoint_is_checked(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match=r"aws_endpoint_url: the endpoint is not a URL"):
        kek_of(f"aws-kms://{ARN}", aws_endpoint_url="kms.example.org")
    kek_of(f"aws-kms://{ARN}", aws_endpoint_url="http://kms.example.org").close()
    assert "http://kms.example.org is not HTTPS: the keyset crosses the network unprotected" in caplog.text


# -- Google -----------------------------------------------------------------------------------------------------------


def test_checksums_go_along_and_a_damaged_answer_is_not_believed(gcp_kms: GcpKms) -> None:
    theirs = gcp_kek(gcp_kms, "checksums")
    kek = kek_of(theirs.uri, **theirs.settings, start_timeout="2s")
    sealed = kek.encrypt(PLAINTEXT, b"")
    assert gcp_kms.calls[-1][1].plaintext_crc32c
    assert kek.decrypt(sealed, b"") == PLAINTEXT
    assert gcp_kms.calls[-1][1].ciphertext_crc32c

    def flip(answer: Any) -> None:
        field = "plaintext" if hasattr(answer, "plaintext") else "ciphertext"
        octets = getattr(answer, field)
        setattr(answer, field, octets[:-1] + bytes([octets[-1] ^ 1]))

    def unverified(answer: Any) -> None:
        answer.verified_plaintext_crc32c = False

    faults: list[tuple[str, Callable[[Any], None], Callable[[], bytes]]] = [
        ("Decrypt", flip, lambda: kek.decrypt(sealed, b"")),
        ("Encrypt", flip, lambda: kek.encrypt(PLAINTEXT, b"")),
        ("Encrypt", unverified, lambda: kek.encrypt(PLAINTEXT, b"")),
    ]
    for method, change, call in faults:
        with gcp_kms.changing(method, change), pytest.raises(SignerUnavailable, match=r"arrived (damaged|unverified)"):
            call()
    kek.close()


def test_google_that_is_busy_once_is_asked_again(gcp_kms: GcpKms) -> None:
    theirs = gcp_kek(gcp_kms, "busy")
    kek = kek_of(theirs.uri, **theirs.settings)
    sealed = kek.encrypt(PLAINTEXT, b"")
    gcp_kms.fail("Decrypt", grpc.StatusCode.UNAVAILABLE)
    assert kek.decrypt(sealed, b"") == PLAINTEXT
    gcp_kms.fail("Decrypt", grpc.StatusCode.PERMISSION_DENIED, "no")
    with pytest.raises(SignerError, match=r"the identity needs cloudkms\.cryptoKeyVersions\.useToDecrypt on this key"):
        kek.decrypt(sealed, b"")
    kek.close()


def test_missing_google_credentials_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "gcp-kms://projects/p/locations/l/keyRings/r/cryptoKeys/k"
    with pytest.raises(ConfigError, match=r"gcp_credentials_file: no Google credentials: FileNotFoundError"):
        kek_of(uri, gcp_credentials_file="/nonexistent.json")
    with pytest.raises(ConfigError, match=r"no Google credentials: .*default credentials were not found"):
        kek_of(uri)
    secret = write_service_account(tmp_path / "account.json")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
    kek = kek_of(uri)
    assert secret not in repr(kek)
    kek.close()


def test_google_without_tls_is_for_this_machine_only() -> None:
    with pytest.raises(ConfigError, match=r"gcp_plaintext: plaintext is for an emulator on this machine"):
        kek_of(
            "gcp-kms://projects/p/locations/l/keyRings/r/cryptoKeys/k",
            gcp_plaintext=True,
            gcp_endpoint="kms.example.org:80",
        )
