"""The signers for AWS KMS and Google Cloud KMS before judges from other people's parts: what is sent, what fails."""

from __future__ import annotations

import importlib
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.interop import builds
from tests.interop.kms_judge import REGION, SECRET_KEY, AwsJudge, GcpJudge, KmsJudge
from tsa_backends.relayed import RelayedSignerContract
from tsa_backends.timestamp_server import FOREIGN, TimestampServer
from tsa_core.api import Signer
from tsa_core.testing import Pki, Relay, encode_request, wait_until, write_pem

MESSAGE = b"a message"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is done to the service, and what the operator's line must say: the cause, and what to do."""

    faults: Mapping[str, Any] = field(default_factory=dict)
    disabled: bool = False
    cause: str
    remedy: str
    tried_again: bool = False


AWS = {
    "permission-denied": Fault(
        faults={"denied": ["Sign"]},
        cause=r"AccessDeniedException: User: .* is not authorized to perform: kms:Sign",
        remedy=r"the identity needs the IAM action kms:Sign on this key",
    ),
    "disabled": Fault(disabled=True, cause=r"DisabledException: .* is disabled", remedy=r"aws kms enable-key"),
    "throttled": Fault(
        faults={"rate": 0.001},
        cause=r"ThrottlingException: You have exceeded the rate",
        remedy=r"quota of KMS is used up; raise it, or spread the load",
        tried_again=True,
    ),
    "expired-credentials": Fault(
        faults={"expired": True},
        cause=r"ExpiredTokenException: The security token included in the request is expired",
        remedy=r"give new ones, or a profile or role that renews them",
    ),
    "clock-behind": Fault(
        faults={"skew_seconds": 3600},
        cause=r"InvalidSignatureException: Signature expired: \d{8}T\d{6}Z is now earlier",
        remedy=r"is this machine's clock right\?",
    ),
    "clock-ahead": Fault(
        faults={"skew_seconds": -3600},
        cause=r"InvalidSignatureException: Signature not yet current",
        remedy=r"is this machine's clock right\?",
    ),
}
_TOKEN = r"have the credentials ended or been withdrawn, and is this machine's clock right\?"
GCP = {
    "permission-denied": Fault(
        faults={"denied": ["AsymmetricSign"]},
        cause=r"PermissionDenied: Permission 'cloudkms.cryptoKeyVersions.useToSign' denied",
        remedy=r"the identity needs cloudkms.cryptoKeyVersions.useToSign on this key",
    ),
    "disabled": Fault(
        disabled=True,
        cause=r"FailedPrecondition: .* is not enabled, current state is: DISABLED",
        remedy=r"enable it: gcloud kms keys versions enable",
    ),
    "throttled": Fault(
        faults={"rate": 0.001},
        cause=r"ResourceExhausted: Quota exceeded",
        remedy=r"quota of Cloud KMS is used up; raise it, or spread the load",
        tried_again=True,
    ),
    "expired-credentials": Fault(
        faults={"expired": True}, cause=r"Unauthenticated \(ACCESS_TOKEN_EXPIRED\)", remedy=_TOKEN
    ),
    "clock-behind": Fault(
        faults={"skew_seconds": 7200}, cause=r"Unauthenticated \(ACCESS_TOKEN_EXPIRED\)", remedy=_TOKEN
    ),
    "clock-ahead": Fault(
        faults={"skew_seconds": -7200}, cause=r"Unauthenticated \(ACCESS_TOKEN_TYPE_UNSUPPORTED\)", remedy=_TOKEN
    ),
}


def started(kind: type[KmsJudge], folder: Path) -> KmsJudge:
    try:
        return kind(folder)
    except builds.NoToolchain as error:
        builds.not_on_this_machine(str(error))


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsJudge]:
    with started(AwsJudge, tmp_path_factory.mktemp("aws-judge")) as judge:
        assert isinstance(judge, AwsJudge)
        yield judge


@pytest.fixture(scope="module")
def gcp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcpJudge]:
    with started(GcpJudge, tmp_path_factory.mktemp("gcp-judge")) as judge:
        assert isinstance(judge, GcpJudge)
        yield judge


@pytest.fixture(scope="module", params=["ECC_NIST_P256", "ECC_NIST_P521"])
def aws_key(request: pytest.FixtureRequest, aws: AwsJudge) -> str:
    return aws.make_key(request.param)


@pytest.fixture(scope="module", params=["EC_SIGN_P384_SHA384", "EC_SIGN_ED25519"])
def gcp_key(request: pytest.FixtureRequest, gcp: GcpJudge) -> str:
    return gcp.make_key(f"contract-{request.param}", request.param)


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Take away what would configure a client by accident; set what reaches AWS's judge where the test asks for it."""
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        monkeypatch.delenv(name)
    if "aws" in request.fixturenames:
        for name, value in request.getfixturevalue("aws").environment.items():
            monkeypatch.setenv(name, value)


class JudgedSigner(RelayedSignerContract):
    @pytest.fixture
    def secrets(self) -> list[str]:
        return [SECRET_KEY, "PRIVATE KEY", "Bearer"]


@pytest.mark.plugin("awskms")
class TestAwsSigner(JudgedSigner):
    provider_name = "awskms"

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return importlib.import_module("tsa_signer_awskms.plugin")

    @pytest.fixture
    def uri(self, aws_key: str) -> str:
        return f"awskms:///{aws_key}"

    @pytest.fixture
    def options(self, aws: AwsJudge) -> Mapping[str, Any]:
        return {"endpoint_url": aws.address, "region": REGION}

    @pytest.fixture
    def unreachable_signer(self, tmp_path: Path, aws: AwsJudge, open_signer: Callable[..., Signer]) -> Signer:
        with AwsJudge(tmp_path) as gone:
            return open_signer(uri=f"awskms:///{gone.make_key()}", endpoint_url=gone.address)

    @pytest.fixture
    def backend_port(self, aws: AwsJudge) -> int:
        return int(aws.address.rpartition(":")[2])

    @pytest.fixture
    def relayed(self, aws: AwsJudge, open_signer: Callable[..., Signer], relay: Relay) -> Signer:
        return open_signer(uri=f"awskms:///{aws.make_key()}", endpoint_url=relay.url)


@pytest.mark.plugin("gcpkms")
class TestGcpSigner(JudgedSigner):
    provider_name = "gcpkms"

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return importlib.import_module("tsa_signer_gcpkms.plugin")

    @pytest.fixture
    def uri(self, gcp_key: str) -> str:
        return f"gcpkms://{gcp_key}"

    @pytest.fixture
    def options(self, gcp: GcpJudge) -> Mapping[str, Any]:
        return {"endpoint": gcp.plain_address, "plaintext": True}

    @pytest.fixture
    def unreachable_signer(self, tmp_path: Path, open_signer: Callable[..., Signer]) -> Signer:
        with GcpJudge(tmp_path) as gone:
            return open_signer(uri=f"gcpkms://{gone.make_key('gone')}", endpoint=gone.plain_address)

    @pytest.fixture
    def backend_port(self, gcp: GcpJudge) -> int:
        return int(gcp.plain_address.rpartition(":")[2])

    @pytest.fixture
    def relayed(self, gcp_key: str, open_signer: Callable[..., Signer], relay: Relay) -> Signer:
        return open_signer(uri=f"gcpkms://{gcp_key}", endpoint=f"127.0.0.1:{relay.port}")


@pytest.mark.plugin("awskms")
@pytest.mark.parametrize("digest", ["sha256", "sha512"])
def test_rsa_key_of_aws_signs(aws: AwsJudge, digest: str) -> None:
    """Not with PSS: local-kms makes salts as long as they can be, AWS as long as the digest."""
    (provider,) = _module("awskms").tsa_signers()
    table = {"uri": f"awskms:///{aws.make_key('RSA_2048')}", "signature_digest": digest}
    signer = provider.open(provider.options.model_validate(table))
    assert signer.algorithm.name == f"rsa-pkcs1v15-{digest}"
    assert signer.algorithm.is_valid(signer.public_key, signer.sign(MESSAGE, timeout=10), MESSAGE)
    signer.close()


# -- under a quota ----------------------------------------------------------------------------------------------------


@pytest.mark.plugin("awskms")
@pytest.mark.parametrize("retry_seconds", [0, 1])
def test_all_get_their_signatures_under_awss_quota(aws: AwsJudge, retry_seconds: int) -> None:
    module, options = _module("awskms"), {"uri": f"awskms:///{aws.make_key()}"}
    _all_sign(module.tsa_signers, options, aws, retry_seconds)


@pytest.mark.plugin("gcpkms")
@pytest.mark.parametrize("retry_seconds", [0, 0.7])
def test_all_get_their_signatures_under_googles_quota(gcp: GcpJudge, retry_seconds: float) -> None:
    key = gcp.make_key(f"quota-{retry_seconds}".replace(".", "-"))
    options = {"uri": f"gcpkms://{key}", "endpoint": gcp.plain_address, "plaintext": True}
    _all_sign(_module("gcpkms").tsa_signers, options, gcp, retry_seconds)


def _module(plugin: str) -> Any:
    return importlib.import_module(f"tsa_signer_{plugin}.plugin")


def _all_sign(providers: Callable[[], Any], table: Mapping[str, Any], judge: KmsJudge, retry_seconds: float) -> None:
    (provider,) = providers()
    signer = provider.open(provider.options.model_validate(table))
    judge.judge(rate=10, retry_seconds=retry_seconds)
    try:
        with ThreadPoolExecutor(16) as pool:
            signatures = list(pool.map(lambda _: signer.sign(MESSAGE, timeout=60), range(16)))
        assert all(signer.algorithm.is_valid(signer.public_key, each, MESSAGE) for each in signatures)
    finally:
        judge.judge()
        signer.close()


# -- a whole server ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Running:
    """A server whose key is in a judged service."""

    server: TimestampServer
    judge: KmsJudge
    plugin: str
    enable: Callable[[bool], None]


def _serve(signer: Signer, uri: str, judge: KmsJudge, folder: Path) -> TimestampServer:
    chain = write_pem(folder / "chain.pem", Pki().chain(signer.public_key))
    signer.close()
    flags = ["--timestamp-signer", "kms", "--kms-key-resource", uri, "--certificate-chain-path", str(chain)]
    environment: Any = judge.environment  # type: ignore[attr-defined] # both kinds have one
    pid_file = {"TSA_SERVER__PID_FILE": str(folder / "tsa.pid")}  # without one there is no reload
    return TimestampServer(flags, {"TSA_PROFILES__DEFAULT__SIGNER_TIMEOUT": "2s", **pid_file, **environment})


@pytest.fixture(scope="module")
def aws_server(aws: AwsJudge, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in aws.environment.items():
            patch.setenv(name, value)
        uri = f"awskms:///{aws.make_key()}"
        (provider,) = _module("awskms").tsa_signers()
        signer = provider.open(provider.options.model_validate({"uri": uri}))
    client = aws.client()

    def enable(on: bool) -> None:
        (client.enable_key if on else client.disable_key)(KeyId=uri.removeprefix("awskms:///"))

    with _serve(signer, uri, aws, tmp_path_factory.mktemp("aws-server")) as server:
        yield Running(server=server, judge=aws, plugin="awskms", enable=enable)


@pytest.fixture(scope="module")
def gcp_server(gcp: GcpJudge, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    key = gcp.make_key("served")
    (provider,) = _module("gcpkms").tsa_signers()
    table = {"uri": f"gcpkms://{key}", "endpoint": gcp.plain_address, "plaintext": True}
    signer = provider.open(provider.options.model_validate(table))

    def enable(on: bool) -> None:
        gcp.set_state(f"{key}/cryptoKeyVersions/1", "ENABLED" if on else "DISABLED")

    with _serve(signer, f"gcpkms://{key}", gcp, tmp_path_factory.mktemp("gcp-server")) as server:
        yield Running(server=server, judge=gcp, plugin="gcpkms", enable=enable)


@pytest.mark.plugin("awskms")
@pytest.mark.parametrize("name", AWS)
def test_fault_of_aws_is_one_line_for_the_operator(aws_server: Running, name: str) -> None:
    _check(aws_server, AWS[name])


@pytest.mark.plugin("gcpkms")
@pytest.mark.parametrize("name", GCP)
def test_fault_of_google_is_one_line_for_the_operator(gcp_server: Running, name: str) -> None:
    _check(gcp_server, GCP[name])


def _check(running: Running, fault: Fault) -> None:
    """A client gets systemFailure; the log has one line with plugin, cause and remedy; all is well again afterwards."""
    server, request = running.server, encode_request(MESSAGE)
    assert server.ask(request).granted
    before = len(server.log.splitlines())
    if fault.disabled:
        running.enable(False)
    running.judge.judge(**fault.faults)
    try:
        answer = server.ask(request)
    finally:
        running.judge.judge()
        if fault.disabled:
            running.enable(True)
    assert answer.failures == {"system_failure"}
    kind = "SignerUnavailable" if fault.tried_again else "SignerError"
    wait_until(lambda: f" {kind}: " in _new(server, before), seconds=60, what="the failure is in the log")
    (line,) = [line for line in _new(server, before).splitlines() if f" {kind}: " in line]
    assert re.search(rf"{fault.cause}.*{fault.remedy}", line), line
    assert ("; tried " in line) is fault.tried_again
    assert re.search(rf"\[plugin {running.plugin}, tsa-signer-{running.plugin} [0-9.]+\]", line), line
    assert SECRET_KEY not in server.log
    assert server.ask(request).granted
    # The log has one line of a kind in ten seconds. A reload begins anew, and finds the key again.
    assert server.process is not None
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: " reloaded: " in _new(server, before), seconds=60, what="the server reloads")


def _new(server: TimestampServer, lines: int) -> str:
    return "\n".join(server.log.splitlines()[lines:])
