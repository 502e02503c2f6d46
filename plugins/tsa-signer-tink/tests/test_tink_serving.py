"""A whole server with a keyset: it asks the KMS once, at start, and never again."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import tink
from tink import secret_key_access
from tink.proto import ecdsa_pb2, tink_pb2

from tsa_backends.gcp_kms import GcpKms
from tsa_backends.ministack import AWS_ENVIRONMENT
from tsa_backends.openbao import ROOT_TOKEN, OpenBao
from tsa_backends.timestamp_server import TimestampServer, run
from tsa_backends.tink_keks import Kek, gcp_kek, vault_kek
from tsa_core.host import PluginHost
from tsa_core.testing import IssuedToken, Pki, check_with_openssl, encode_request, wait_until, write_pem
from tsa_signer_tink.options import TinkOptions
from tsa_signer_tink.plugin import tsa_signers

DATA = b"signed by a key out of a keyset"
REQUEST = encode_request(DATA)


class Deployment:
    """A keyset made by our own command, and a chain for its key."""

    def __init__(self, kek: Kek, folder: Path, template: str = "ECDSA_P384_SHA384") -> None:
        self.kek = kek
        self.keyset = folder / "enc-keyset.cfg"
        made = run(
            ["tink", "create-keyset", "--key-template", template, "--out", self.keyset, "--master-key-uri", kek.uri],
            self.environment,
        )
        assert made.returncode == 0, made.stderr
        (provider,) = tsa_signers()
        signer = provider.open(
            TinkOptions.model_validate({"uri": f"tink:{self.keyset}", "key_resource": kek.uri, **kek.settings}),
            open_kek=PluginHost().open_kek,
        )
        self.chain = Pki().chain(signer.public_key)
        self.chain_path = write_pem(folder / "chain.pem", self.chain)

    @property
    def environment(self) -> Mapping[str, str]:
        return {**AWS_ENVIRONMENT, "NO_GCE_CHECK": "true", **self.kek.environment}

    @property
    def arguments(self) -> list[str]:
        return [
            *("--timestamp-signer", "tink", "--tink-key-resource", self.kek.uri),
            *("--tink-keyset-path", str(self.keyset), "--certificate-chain-path", str(self.chain_path)),
        ]

    def secrets(self) -> list[str]:
        """Return the private scalar in the forms that a log might have, and the token."""
        handle = self.kek.read_keyset(self.keyset)
        keyset = tink_pb2.Keyset.FromString(tink.proto_keyset_format.serialize(handle, secret_key_access.TOKEN))
        scalar = ecdsa_pb2.EcdsaPrivateKey.FromString(keyset.key[0].key_data.value).key_value
        number = int.from_bytes(scalar, "big")
        return [str(number), f"{number:x}", str(scalar)[2:-1], ROOT_TOKEN]

    def answers(self) -> list[str]:
        """Return what a KMS's answer has of the keyset, as its client might log it."""
        plaintext = self.kek.aead().decrypt(self.encrypted(), b"")
        return [base64.b64encode(plaintext).decode(), repr(plaintext)[2:-1]]

    def encrypted(self) -> bytes:
        """Return the ciphertext in the keyset's file."""
        return base64.b64decode(json.loads(self.keyset.read_text())["encryptedKeyset"])

    def check(self, response: bytes, folder: Path) -> None:
        check_with_openssl(IssuedToken(request=REQUEST, response=response, data=DATA, chain=self.chain), folder)


@pytest.fixture
def bao(tmp_path: Path) -> Iterator[OpenBao]:
    """A server of the test's own, to be killed."""
    server = OpenBao(tmp_path)
    server.start()
    yield server
    server.process.kill()


def test_server_of_each_kms_issues_tokens_that_openssl_verifies(kek: Kek, tmp_path: Path) -> None:
    deployment = Deployment(kek, tmp_path)
    with TimestampServer(deployment.arguments, deployment.environment) as server:
        answer = server.ask(REQUEST)
        assert server.ready() == 200
    assert answer.granted
    deployment.check(answer.response, tmp_path)
    assert not [secret for secret in deployment.secrets() if secret in server.log]


@pytest.mark.parametrize("scope", ["google", "google.cloud.kms_v1.services.key_management_service.transports.grpc"])
def test_debug_log_of_googles_client_does_not_tell_the_key(gcp: Kek, tmp_path: Path, scope: str) -> None:
    deployment = Deployment(gcp, tmp_path)
    environment = {**deployment.environment, "GOOGLE_SDK_PYTHON_LOGGING_SCOPE": scope}
    result = run(["check", *deployment.arguments], environment)
    assert result.returncode == 0, result.stderr
    shown = result.stdout + result.stderr
    assert not [text for text in (*deployment.answers(), *deployment.secrets()) if text in shown]


def test_kms_may_go_after_the_start(bao: OpenBao, tmp_path: Path) -> None:
    deployment = Deployment(vault_kek(bao), tmp_path)
    with TimestampServer(deployment.arguments, deployment.environment) as server:
        bao.process.kill()
        answer = server.ask(REQUEST)
        assert server.ready() == 200
    assert answer.granted
    deployment.check(answer.response, tmp_path)


def test_start_without_the_kms_is_one_line_and_exit_code_75(bao: OpenBao, tmp_path: Path) -> None:
    deployment = Deployment(vault_kek(bao), tmp_path)
    bao.process.kill()
    environment = {**deployment.environment, "TSA_SIGNER__TINK__START_TIMEOUT": "1s"}
    result = run(["serve", "--port", "0", *deployment.arguments], environment)
    assert result.returncode == 75
    (line,) = result.stderr.splitlines()
    assert line.startswith("timestamp-server: error: profiles.default.signer: http://127.0.0.1:")
    assert "/v1/transit/decrypt/tsa-kek: cannot be reached: ConnectionRefusedError" in line
    assert ROOT_TOKEN not in result.stdout + result.stderr


@pytest.mark.parametrize("server", ["vault", "gcp"])
def test_wrong_kek_is_one_line_and_exit_code_2(server: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    kek: Kek = request.getfixturevalue(server)
    deployment = Deployment(kek, tmp_path)
    arguments = [kek.other_uri if argument == kek.uri else argument for argument in deployment.arguments]
    result = run(["serve", "--port", "0", *arguments], deployment.environment)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "is this the key that encrypted it, and is the ciphertext as it was?" in line


def test_check_prints_key_keyset_and_kek(vault: Kek, tmp_path: Path) -> None:
    deployment = Deployment(vault, tmp_path)
    key_id = vault.read_keyset(deployment.keyset).keyset_info().primary_key_id
    result = run(["check", *deployment.arguments], deployment.environment)
    assert result.returncode == 0, result.stderr
    for fact in (
        "default\tsigner\ttink",
        f"default\tkey\tEC secp384r1, key {key_id} of the keyset, in memory",
        f"default\tkeyset\t{deployment.keyset}, encrypted by {vault.uri}",
        "default\talgorithm\tecdsa-sha384",
    ):
        assert fact in result.stdout, result.stdout
    assert not [secret for secret in deployment.secrets() if secret in result.stdout + result.stderr]


def test_settings_do_what_the_flags_do(vault: Kek, tmp_path: Path) -> None:
    deployment = Deployment(vault, tmp_path)
    token = tmp_path / "vault-token"
    token.write_text(ROOT_TOKEN)
    config = tmp_path / "tsa.toml"
    config.write_text(
        '[profiles.default]\nsigner = "tink:enc-keyset.cfg"\ncertificate_chain = "chain.pem"\n\n'
        f'[signer.tink]\nkey_resource = "{vault.uri}"\nhcvault_address = "{vault.settings["hcvault_address"]}"\n'
        'hcvault_token = { file = "vault-token" }\n'
    )
    with TimestampServer(["--config", str(config)], {}) as server:
        answer = server.ask(REQUEST)
    deployment.check(answer.response, tmp_path)


def test_token_on_the_command_line_works_and_is_warned_of(vault: Kek, tmp_path: Path) -> None:
    deployment = Deployment(vault, tmp_path)
    environment = {"VAULT_ADDR": str(vault.settings["hcvault_address"])}
    arguments = [*deployment.arguments, "--tink-hcvault-token", ROOT_TOKEN]
    with TimestampServer(arguments, environment) as server:
        assert server.ask(REQUEST).granted
    assert "--tink-hcvault-token shows the token to everybody who can run ps on this machine" in server.log
    assert ROOT_TOKEN not in server.log


def test_workers_share_the_key_and_a_new_one_needs_no_kms(tmp_path: Path) -> None:
    kms = GcpKms(tmp_path)
    kms.start()
    deployment = Deployment(gcp_kek(kms), tmp_path)
    kms.calls.clear()
    arguments = [*deployment.arguments, "--workers", "2"]
    with TimestampServer(arguments, deployment.environment) as server:
        assert [name for name, _, _ in kms.calls] == ["Decrypt"]
        kms.kill()
        before = server.workers()
        os.kill(min(before), signal.SIGKILL)
        wait_until(lambda: len(server.workers() - before) == 1, seconds=20, what="a new worker in its place")
        answers = [server.ask(REQUEST) for _ in range(8)]
    assert all(answer.granted for answer in answers)
    deployment.check(answers[-1].response, tmp_path)
    assert re.search(r"worker \d+ ended by itself", server.log)
