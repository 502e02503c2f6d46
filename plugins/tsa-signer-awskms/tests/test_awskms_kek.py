"""Key encryption keys in AWS KMS: the contract against ministack, and what KMS's refusals become."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import pytest
from botocore.stub import Stubber

from tsa_backends.ministack import AWS_ENVIRONMENT, SECRET_KEY, Ministack
from tsa_core.api import WRONG_KEK, ConfigError, KeyEncryptionKey, SignerError, SignerUnavailable, TsaError
from tsa_core.testing import KekContract, ProviderContract
from tsa_signer_awskms import plugin as plugin_module
from tsa_signer_awskms.connection import KmsConnection
from tsa_signer_awskms.kek import AwsKek, open_aws_kek
from tsa_signer_awskms.options import AwsKekOptions

QUOTA = "the account's request quota of KMS is used up; raise it, or spread the load"
PLAINTEXT = b"\x08\x01 as long as a keyset" * 20
ARN = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in AWS_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def kek_of(arn: str, **settings: Any) -> AwsKek:
    fixed = {
        "uri": f"aws-kms://{arn}",
        "uri_setting": "signer.tink.key_resource",
        "settings_prefix": "signer.tink.aws_",
    }
    return open_aws_kek(AwsKekOptions.model_validate({**fixed, **settings}))


@pytest.fixture(scope="module")
def arn(ministack: Ministack) -> str:
    return ministack.make_key("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")


class TestProvider(ProviderContract):
    kind = "kek"

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return plugin_module

    @pytest.fixture
    def distribution_name(self) -> str:
        return "tsa-signer-awskms"

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {"profile": "tsa", "endpoint_url": "https://kms.example.org"}


class TestKek(KekContract):
    tells_wrong_ciphertexts = False  # ministack gives noise where AWS says InvalidCiphertextException

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return plugin_module

    @pytest.fixture
    def uri(self, arn: str) -> str:
        return f"aws-kms://{arn}"

    @pytest.fixture
    def options(self, ministack: Ministack) -> Mapping[str, Any]:
        return {"endpoint_url": ministack.address}

    @pytest.fixture
    def secrets(self) -> list[str]:
        return [SECRET_KEY]

    @pytest.fixture
    def unreachable_kek(self) -> Iterator[KeyEncryptionKey]:
        kek = kek_of(ARN, endpoint_url="http://127.0.0.1:1")
        yield kek
        kek.close()


@pytest.fixture
def stubbed(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[AwsKek, Stubber]]:
    """A KEK whose one client answers what a test says."""
    connection = KmsConnection(
        region="eu-west-1",
        profile=None,
        endpoint_url=None,
        connections=1,
        attempts=3,
        setting="signer.tink.aws_{}".format,
    )
    client = connection._client(4.0)
    monkeypatch.setattr(connection, "_client", lambda _: client)
    with Stubber(client) as stub:
        yield AwsKek(connection, arn=ARN), stub
    connection.close()


@pytest.mark.parametrize(
    ("code", "status", "kind", "hint"),
    [
        ("IncorrectKeyException", 400, SignerError, WRONG_KEK),
        ("InvalidCiphertextException", 400, SignerError, WRONG_KEK),
        ("AccessDeniedException", 400, SignerError, "the identity needs the IAM action kms:Decrypt on this key"),
        ("InvalidKeyUsageException", 400, SignerError, "the key must have key usage ENCRYPT_DECRYPT"),
        ("DisabledException", 400, SignerError, "enable the key: aws kms enable-key"),
        ("SomethingNewException", 400, SignerError, ""),
        (
            "ThrottlingException",
            400,
            SignerUnavailable,
            "the account's request quota of KMS is used up; raise it, or spread the load",
        ),
        ("SomethingNewException", 503, SignerUnavailable, ""),
    ],
)
def test_what_aws_refuses_is_explained(
    stubbed: tuple[AwsKek, Stubber], code: str, status: int, kind: type[TsaError], hint: str
) -> None:
    kek, stub = stubbed
    for _ in range(3):
        stub.add_client_error("decrypt", code, "no", http_status_code=status)
    with pytest.raises(SignerError) as caught:
        kek.decrypt(b"sealed", timeout=4.0)
    assert type(caught.value) is kind
    text, _, tries = str(caught.value).partition("; tried 3 times in ")
    assert text == f"AWS kms:Decrypt with {ARN}: {code}: no{hint and f'; {hint}'}"
    assert bool(tries) is (kind is SignerUnavailable)


def test_aws_is_asked_for_the_key_by_name_so_that_no_other_answers(stubbed: tuple[AwsKek, Stubber]) -> None:
    kek, stub = stubbed
    expected = {"KeyId": ARN, "CiphertextBlob": b"sealed"}
    stub.add_response("decrypt", {"KeyId": ARN, "Plaintext": PLAINTEXT}, expected)
    assert kek.decrypt(b"sealed", timeout=4.0) == PLAINTEXT
    stub.add_response("decrypt", {"KeyId": ARN}, expected)
    with pytest.raises(SignerError, match="the answer holds no Plaintext"):
        kek.decrypt(b"sealed", timeout=4.0)


def test_disabled_key_is_explained(ministack: Ministack) -> None:
    arn = ministack.make_key("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
    client = ministack.client()
    client.disable_key(KeyId=arn)
    client.close()
    kek = kek_of(arn, endpoint_url=ministack.address)
    with pytest.raises(SignerError, match=r"DisabledException.*aws kms enable-key"):
        kek.encrypt(PLAINTEXT, timeout=10)
    kek.close()


def test_missing_credentials_and_profiles_are_said(arn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"^signer.tink.aws_profile: The config profile \(none\) could not be found"):
        kek_of(arn, profile="none")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    kek = kek_of(arn, endpoint_url="http://127.0.0.1:1")
    with pytest.raises(SignerError, match=r"Unable to locate credentials; give AWS credentials by the environment"):
        kek.decrypt(b"sealed", timeout=10)
    kek.close()


def test_endpoint_is_checked(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match=r"^signer.tink.aws_endpoint_url: the endpoint is not a URL"):
        kek_of(ARN, endpoint_url="kms.example.org")
    kek_of(ARN, endpoint_url="http://kms.example.org").close()
    assert "http://kms.example.org is not HTTPS: the secret that is decrypted crosses the network" in caplog.text


@pytest.mark.parametrize("arn", ["alias/tsa", f"/{ARN}", "arn:aws:kms:eu-west-1:1:secret/x", ""])
def test_malformed_uri_is_refused_with_the_right_form(arn: str) -> None:
    with pytest.raises(ConfigError, match=r"^signer.tink.key_resource: .* write aws-kms://arn:aws:kms:REGION"):
        kek_of(arn)
