"""What happens to a KMS key, to credentials and to calls while the signer is in use."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tsa_backends.ministack import AWS_ENVIRONMENT, REGION, SECRET_KEY, Ministack
from tsa_core.api import ConfigError, PrivateKey, Signer, SignerError, SignerUnavailable
from tsa_core.testing import check_token, ends_within, issue_token, shared_key
from tsa_signer_awskms.options import AwsKmsOptions
from tsa_signer_awskms.plugin import tsa_signers

MESSAGE = b"a message"
SESSION_TOKEN = "session-token-77aa01"
ARN = f"arn:aws:kms:{REGION}:000000000000:key/00000000-0000-0000-0000-000000000001"


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**AWS_ENVIRONMENT, "AWS_SESSION_TOKEN": SESSION_TOKEN}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def open_signer() -> Iterator[Callable[..., Signer]]:
    opened: list[Signer] = []
    (provider,) = tsa_signers()

    def open_one(server: Ministack | FakeKms, key: str, **options: Any) -> Signer:
        table = {"uri": f"awskms:///{key}", "endpoint_url": server.address, **options}
        opened.append(provider.open(AwsKmsOptions.model_validate(table)))
        return opened[-1]

    yield open_one
    for signer in opened:
        signer.close()


def assert_signs(signer: Signer) -> None:
    signature = signer.sign(MESSAGE, timeout=5)
    assert signer.algorithm.is_valid(signer.public_key, signature, MESSAGE)


# -- the key ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_pss_signs_with_the_salt_that_cms_announces(
    ministack: Ministack, open_signer: Callable[..., Signer], digest: str, tmp_path: Path
) -> None:
    signer = open_signer(ministack, ministack.make_key("RSA_2048"), rsa_pss=True, signature_digest=digest)
    assert signer.algorithm.name == f"rsa-pss-{digest}"
    check_token(issue_token(signer, tmp_path), signer, tmp_path)


def test_a_key_is_found_by_id_arn_alias_and_arn_of_the_alias(
    ministack: Ministack, open_signer: Callable[..., Signer]
) -> None:
    arn = ministack.make_key(alias="alias/names")
    alias_arn = arn.rpartition(":")[0] + ":alias/names"
    for name in (arn, arn.rpartition("/")[2], "alias/names", alias_arn):
        assert open_signer(ministack, name).details()["key"].startswith(arn)


def test_an_alias_that_moves_does_not_move_a_running_signer(
    ministack: Ministack, open_signer: Callable[..., Signer]
) -> None:
    first = ministack.make_key(alias="alias/moving")
    signer = open_signer(ministack, "alias/moving")
    second = ministack.make_key()
    ministack.client().update_alias(AliasName="alias/moving", TargetKeyId=second)
    assert_signs(signer)
    assert signer.details()["key"].startswith(first)
    assert open_signer(ministack, "alias/moving").details()["key"].startswith(second)


@pytest.mark.parametrize(
    ("spec", "usage", "problem"),
    [
        ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "the key is symmetric"),
        ("RSA_2048", "ENCRYPT_DECRYPT", r"is for ENCRYPT_DECRYPT; create one with key usage SIGN_VERIFY"),
        ("ECC_SECG_P256K1", "SIGN_VERIFY", r"ECC_SECG_P256K1\): the curve secp256k1 is not supported; use P-256"),
    ],
)
def test_a_key_that_cannot_sign_is_refused_and_named(
    ministack: Ministack, open_signer: Callable[..., Signer], spec: str, usage: str, problem: str
) -> None:
    arn = ministack.make_key(spec, usage)
    with pytest.raises((ConfigError, SignerError), match=problem) as caught:
        open_signer(ministack, arn)
    assert arn in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_digest_that_kms_does_not_offer_for_the_key_is_a_config_error(
    ministack: Ministack, open_signer: Callable[..., Signer]
) -> None:
    with pytest.raises(
        ConfigError, match=r"cannot sign with ecdsa-sha512; KMS offers for it: ECDSA_SHA_256 \(signer_h"
    ):
        open_signer(ministack, ministack.make_key(), signature_digest="sha512")


def test_a_disabled_key_stops_signing_and_recovers(ministack: Ministack, open_signer: Callable[..., Signer]) -> None:
    arn = ministack.make_key()
    signer = open_signer(ministack, arn)
    ministack.client().disable_key(KeyId=arn)
    with pytest.raises(SignerError, match=r"AWS kms:Sign with .*DisabledException.*enable-key") as caught:
        signer.sign(MESSAGE, timeout=5)
    assert not isinstance(caught.value, SignerUnavailable)
    ministack.client().enable_key(KeyId=arn)
    assert_signs(signer)


def test_a_key_pending_deletion_stops_signing_and_recovers(
    ministack: Ministack, open_signer: Callable[..., Signer]
) -> None:
    arn = ministack.make_key()
    signer = open_signer(ministack, arn)
    ministack.client().schedule_key_deletion(KeyId=arn, PendingWindowInDays=7)
    with pytest.raises(SignerError, match=r"KMSInvalidStateException.*pending deletion"):
        signer.sign(MESSAGE, timeout=5)
    ministack.client().cancel_key_deletion(KeyId=arn)
    ministack.client().enable_key(KeyId=arn)
    assert_signs(signer)


def test_a_key_that_is_not_there_is_named(ministack: Ministack, open_signer: Callable[..., Signer]) -> None:
    with pytest.raises(SignerError, match=r"kms:GetPublicKey with alias/absent: NotFoundException.*region"):
        open_signer(ministack, "alias/absent")


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri", ["awskms:", "awskms://", "awskms:///", "awskms://host", "awskms:alias/x", "awskms:///a b"]
)
def test_a_malformed_uri_is_refused_with_the_right_form(uri: str) -> None:
    (provider,) = tsa_signers()
    with pytest.raises(ConfigError, match="write awskms:///KEY"):
        provider.open(AwsKmsOptions(uri=uri))


def test_the_uris_host_is_the_endpoint_over_https(ministack: Ministack) -> None:
    (provider,) = tsa_signers()
    uri = f"awskms://127.0.0.1:{ministack.port}/alias/x"
    with pytest.raises(SignerError, match=f"https://127.0.0.1:{ministack.port}/"):
        provider.open(AwsKmsOptions.model_validate({"uri": uri, "start_timeout": "2s", "attempts": 1}))


def test_an_unknown_region_is_a_config_error(
    monkeypatch: pytest.MonkeyPatch, open_signer: Callable[..., Signer]
) -> None:
    monkeypatch.delenv("AWS_REGION")
    (provider,) = tsa_signers()
    with pytest.raises(ConfigError, match=r"signer.awskms.region: the AWS region is not known; set it"):
        provider.open(AwsKmsOptions(uri="awskms:///alias/x"))


def test_the_arns_region_is_used_and_another_one_refused(
    ministack: Ministack, open_signer: Callable[..., Signer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_REGION")
    arn = ministack.make_key()
    assert_signs(open_signer(ministack, arn))
    with pytest.raises(ConfigError, match=f"is in the region {REGION}, the setting says us-east-1"):
        open_signer(ministack, arn, region="us-east-1")


def test_an_unknown_profile_is_a_config_error() -> None:
    (provider,) = tsa_signers()
    with pytest.raises(ConfigError, match=r"signer.awskms.aws_profile: .*nobody"):
        provider.open(AwsKmsOptions(uri="awskms:///alias/x", aws_profile="nobody"))


def test_missing_credentials_are_named(
    ministack: Ministack, open_signer: Callable[..., Signer], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    with pytest.raises(SignerError, match="Unable to locate credentials; give AWS credentials"):
        open_signer(ministack, "alias/x")


def test_nothing_logs_credentials_even_at_debug(
    ministack: Ministack, open_signer: Callable[..., Signer], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    arn = ministack.make_key()
    signer = open_signer(ministack, arn)
    assert_signs(signer)
    ministack.client().disable_key(KeyId=arn)
    with pytest.raises(SignerError):
        signer.sign(MESSAGE, timeout=5)
    for secret in (SECRET_KEY, SESSION_TOKEN):
        assert secret not in caplog.text + repr(signer)


# -- what only a server that misbehaves can show ----------------------------------------------------------------------


class FakeKms:
    """Speaks KMS's JSON over HTTP for one local key, and misbehaves as it is told."""

    def __init__(self, key: PrivateKey, spec: str, algorithms: list[str]) -> None:
        self.errors: list[tuple[int, str, str]] = []
        """HTTP status, code and message of the next answers to Sign, used up one by one."""
        self.error_headers: dict[str, str] = {}
        self.changes: dict[str, Any] = {}
        """Fields that replace those of a right answer to Sign."""
        self.calls = 0
        self.hold = threading.Event()
        self.hold.set()
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                operation = self.headers["X-Amz-Target"].rpartition(".")[2]
                status, answer = fake.answer(operation, body)
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(text)))
                for name, value in (fake.error_headers if status != 200 else {}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._key, self._spec, self._algorithms = key, spec, algorithms
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, operation: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if operation == "GetPublicKey":
            der = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            return 200, {
                "KeyId": ARN,
                "KeySpec": self._spec,
                "KeyUsage": "SIGN_VERIFY",
                "PublicKey": base64.b64encode(der).decode(),
                "SigningAlgorithms": self._algorithms,
            }
        self.calls += 1
        self.hold.wait(20)
        if self.errors:
            status, code, message = self.errors.pop(0)
            return status, {"__type": code, "message": message}
        data = base64.b64decode(body["Message"])
        if isinstance(self._key, ec.EllipticCurvePrivateKey):
            assert body["MessageType"] == "DIGEST"
            signature = self._key.sign(data, ec.ECDSA(Prehashed(SHA256())))
        else:
            assert body["MessageType"] == "RAW"
            signature = self._key.sign(data)  # type: ignore[call-arg] # RSA is not among the keys here
        answer = {
            "KeyId": ARN,
            "SigningAlgorithm": body["SigningAlgorithm"],
            "Signature": base64.b64encode(signature).decode(),
        }
        return 200, {**answer, **self.changes}

    def close(self) -> None:
        self.hold.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def fake() -> Iterator[FakeKms]:
    server = FakeKms(shared_key("ecdsa-p256"), "ECC_NIST_P256", ["ECDSA_SHA_256"])
    yield server
    server.close()


@pytest.mark.parametrize("bits", [44, 65, 87])
def test_ml_dsa_signs_the_message_itself(open_signer: Callable[..., Signer], bits: int, tmp_path: Path) -> None:
    server = FakeKms(shared_key(f"ml-dsa-{bits}"), f"ML_DSA_{bits}", ["ML_DSA_SHAKE_256"])
    try:
        signer = open_signer(server, ARN)
        assert signer.algorithm.name == f"ml-dsa-{bits}"
        check_token(issue_token(signer, tmp_path), signer, tmp_path)
    finally:
        server.close()


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "ThrottlingException"), (500, "KMSInternalException"), (503, "ServiceUnavailable"), (502, "")],
)
def test_a_passing_refusal_is_tried_again(
    fake: FakeKms, open_signer: Callable[..., Signer], status: int, code: str
) -> None:
    signer = open_signer(fake, ARN)
    fake.errors = [(status, code, "slow down")]
    assert_signs(signer)
    assert fake.calls == 2
    fake.errors = [(status, code, "slow down")] * 4
    assert_signs(signer)
    assert fake.calls == 7
    fake.errors = [(status, code, "slow down")] * 100
    with pytest.raises(SignerUnavailable, match="slow down") as caught, ends_within(1):
        signer.sign(MESSAGE, timeout=1)
    calls = fake.calls - 7  # one, where a busy machine took the whole second for it
    assert (f"; tried {calls} times in " in str(caught.value)) == (calls > 1)


def test_retry_after_is_heeded_and_attempts_are_a_limit(fake: FakeKms, open_signer: Callable[..., Signer]) -> None:
    signer = open_signer(fake, ARN)
    fake.error_headers = {"Retry-After": "5"}
    fake.errors = [(400, "ThrottlingException", "slow down")]
    with pytest.raises(SignerUnavailable, match="slow down") as caught:
        signer.sign(MESSAGE, timeout=4)
    assert caught.value.retry_after == 5
    assert fake.calls == 1
    fake.error_headers = {}
    fake.errors = [(400, "ThrottlingException", "slow down")] * 2
    with pytest.raises(SignerUnavailable, match="tried 2 times"):
        open_signer(fake, ARN, attempts=2).sign(MESSAGE, timeout=60)


def test_a_missing_permission_is_named_and_not_tried_again(fake: FakeKms, open_signer: Callable[..., Signer]) -> None:
    signer = open_signer(fake, ARN)
    fake.errors = [(400, "AccessDeniedException", "User: arn:aws:iam::0:user/tsa is not authorized")]
    with pytest.raises(SignerError, match=r"needs the IAM action kms:Sign on this key") as caught:
        signer.sign(MESSAGE, timeout=5)
    assert not isinstance(caught.value, SignerUnavailable)
    assert fake.calls == 1


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"KeyId": ARN[:-1] + "2"}, "0002 ECDSA_SHA_256 answered"),
        ({"SigningAlgorithm": "ECDSA_SHA_512"}, "0001 ECDSA_SHA_512 answered"),
        ({"Signature": ""}, "holds no signature"),
    ],
)
def test_an_answer_of_another_key_or_algorithm_is_refused(
    fake: FakeKms, open_signer: Callable[..., Signer], changes: dict[str, Any], problem: str
) -> None:
    signer = open_signer(fake, ARN)
    fake.changes = changes
    with pytest.raises(SignerError, match=problem):
        signer.sign(MESSAGE, timeout=5)


def test_a_backend_that_does_not_answer_is_given_up_in_time(fake: FakeKms, open_signer: Callable[..., Signer]) -> None:
    signer = open_signer(fake, ARN)
    fake.hold.clear()
    with ends_within(1), pytest.raises(SignerUnavailable):
        signer.sign(MESSAGE, timeout=1)
    fake.hold.set()
    assert_signs(signer)


def test_only_a_digest_leaves_the_machine(
    fake: FakeKms, open_signer: Callable[..., Signer], monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = open_signer(fake, ARN)
    sent: list[dict[str, Any]] = []
    answer = fake.answer

    def note(operation: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        sent.append(body)
        return answer(operation, body)

    monkeypatch.setattr(fake, "answer", note)
    assert_signs(signer)
    assert base64.b64decode(sent[0]["Message"]) == hashlib.sha256(MESSAGE).digest()
