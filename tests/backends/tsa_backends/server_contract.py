"""What a whole server must do with a key in a backend, in good times and in bad ones."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tsa_backends.timestamp_server import Answer, TimestampServer, run
from tsa_core.api import PublicKey, signature_algorithm
from tsa_core.certs import load_certificates
from tsa_core.testing import (
    IssuedToken,
    Pki,
    check_path_with_openssl,
    check_with_openssl,
    check_with_verifier,
    encode_request,
    new_key,
    wait_until,
    write_pem,
)

_DATA = b"signed in a backend"
_LOAD_THREADS = 8
_LOAD_ANSWERS = 20
_RECOVERY_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A key in a backend, and how the backend is broken and mended.

    `environment` is what the operator sets beside the flags. `start` after `kill` brings the same key back.
    `freeze` keeps the backend from answering while its connections stay open. `rotate` makes another private key the
    newest of that name, for RotatingServerContract; `disable` keeps the key itself from signing until `enable`. `facts`
    are texts that `check` must print. `impatient` is what makes a start that finds no backend give up within a second.
    """

    uri: str
    environment: Mapping[str, str]
    public_key: PublicKey
    start: Callable[[], None]
    kill: Callable[[], None]
    freeze: Callable[[], None]
    thaw: Callable[[], None]
    facts: Sequence[str]
    secrets: Sequence[str] = field(repr=False)
    disable: Callable[[], None]
    enable: Callable[[], None]
    rotate: Callable[[], None] | None = None
    impatient: Mapping[str, str] = field(default_factory=dict)


def expect(answers: Sequence[Answer], *, granted: bool) -> None:
    """Return when so and so many of the answers that come from now on are grants, or refusals."""
    before = len(answers)
    wait_until(
        lambda: sum(answer.granted is granted for answer in answers[before:]) >= _LOAD_ANSWERS,
        seconds=_RECOVERY_SECONDS,
        what=f"answers under load are {'grants' if granted else 'refusals'}",
    )


class ServerContract:
    """Subclass it as TestServer and override `deployment`; the key must be ECDSA or RSA, for openssl's sake.

    RotatingServerContract is for backends whose keys have versions, or names that can point to another key.
    """

    sign_seconds: ClassVar[float] = 2.0
    """The profile's signer_timeout."""
    slack_seconds: ClassVar[float] = 20.0
    """By how much a busy machine may be late."""

    @pytest.fixture
    def deployment(self) -> Deployment:
        """Return a running backend with a key; override it."""
        pytest.fail(f"{type(self).__name__} must override the fixture `deployment`", pytrace=False)

    @pytest.fixture
    def chain(self, deployment: Deployment) -> tuple[Any, ...]:
        return Pki().chain(deployment.public_key)

    @pytest.fixture
    def arguments(self, deployment: Deployment, chain: tuple[Any, ...], tmp_path: Path) -> list[str]:
        path = write_pem(tmp_path / "chain.pem", chain)
        return [
            "--timestamp-signer",
            "kms",
            "--kms-key-resource",
            deployment.uri,
            "--certificate-chain-path",
            f"{path}",
        ]

    @pytest.fixture
    def environment(self, deployment: Deployment) -> dict[str, str]:
        return {
            "TSA_PROFILES__DEFAULT__SIGNER_TIMEOUT": f"{self.sign_seconds}s",
            "TSA_SERVER__THREADS": str(_LOAD_THREADS),
            **deployment.environment,
        }

    def test_serve_issues_a_token_that_openssl_verifies(
        self,
        deployment: Deployment,
        chain: tuple[Any, ...],
        arguments: list[str],
        environment: dict[str, str],
        tmp_path: Path,
    ) -> None:
        request = encode_request(_DATA)
        with TimestampServer(arguments, environment) as server:
            answer = server.ask(request)
        assert answer.granted
        token = IssuedToken(request=request, response=answer.response, data=_DATA, chain=chain)
        check_with_openssl(token, tmp_path)
        assert not [s for s in deployment.secrets if s in server.log]

    @pytest.mark.plugin("file")
    def test_fetch_tsa_certs_takes_its_key_as_leaf_and_as_parent(
        self, deployment: Deployment, environment: dict[str, str], tmp_path: Path
    ) -> None:
        other = tmp_path / "other.pem"
        key = new_key("ecdsa-p384")
        other.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        other.chmod(0o600)
        for leaf, parent in ((deployment.uri, f"file:{other}"), (f"file:{other}", deployment.uri)):
            output = tmp_path / "fetched.pem"
            arguments = ["--leaf-kms-resource", leaf, "--parent-kms-resource", parent, "--output", f"{output}"]
            result = run(arguments, environment, program="fetch-tsa-certs")
            assert result.returncode == 0, result.stderr
            assert not [s for s in deployment.secrets if s in result.stdout + result.stderr]
            judged = run(["check-chain", output, "--key", leaf], environment)
            assert judged.returncode == 0, judged.stdout + judged.stderr
            check_path_with_openssl(load_certificates(output), tmp_path)

    def test_check_prints_key_version_algorithm_and_latency(
        self, deployment: Deployment, arguments: list[str], environment: dict[str, str]
    ) -> None:
        result = run(["check", *arguments], environment)
        assert result.returncode == 0, result.stderr
        algorithm = signature_algorithm(deployment.public_key).name
        for fact in (*deployment.facts, f"algorithm\t{algorithm}"):
            assert fact in result.stdout, result.stdout
        assert re.search(r"^default\tversion\t.+$", result.stdout, re.MULTILINE), result.stdout
        assert re.search(r"trial signature\tverified, [0-9.]+ ms", result.stdout), result.stdout
        assert not [s for s in deployment.secrets if s in result.stdout + result.stderr]

    def test_start_with_the_backend_down_is_one_line_and_exit_code_75(
        self, deployment: Deployment, arguments: list[str], environment: dict[str, str]
    ) -> None:
        deployment.kill()
        started = time.monotonic()
        result = run(["serve", "--port", "0", *arguments], {**environment, **deployment.impatient})
        assert result.returncode == 75, (result.stdout, result.stderr)
        lines = result.stderr.splitlines()
        assert len(lines) == 1, result.stderr
        assert lines[0].startswith("timestamp-server: error: profiles.default.signer: "), lines
        assert time.monotonic() - started < 60
        assert not [s for s in deployment.secrets if s in result.stderr]

    def test_outage_is_system_failure_in_time_and_ends_by_itself(
        self, deployment: Deployment, arguments: list[str], environment: dict[str, str], tmp_path: Path
    ) -> None:
        request = encode_request(_DATA)
        with TimestampServer(arguments, environment) as server:
            assert server.ask(request).granted
            for fail, mend in ((deployment.kill, deployment.start), (deployment.freeze, deployment.thaw)):
                fail()
                answer = server.ask(request)
                assert answer.failures == {"system_failure"}
                assert answer.seconds < self.sign_seconds + self.slack_seconds
                assert server.ready() == 503
                mend()
                assert self._recovered(server, request).granted
                assert server.ready() == 200
        assert not [s for s in deployment.secrets if s in server.log]

    def test_disabled_key_is_system_failure_until_it_is_enabled(
        self, deployment: Deployment, arguments: list[str], environment: dict[str, str], tmp_path: Path
    ) -> None:
        request = encode_request(_DATA)
        with TimestampServer(arguments, environment) as server:
            assert server.ask(request).granted
            deployment.disable()
            assert server.ask(request).failures == {"system_failure"}
            assert server.ready() == 503
            deployment.enable()
            assert self._recovered(server, request).granted

    def test_kill_and_restart_under_load(
        self,
        deployment: Deployment,
        chain: tuple[Any, ...],
        arguments: list[str],
        environment: dict[str, str],
        tmp_path: Path,
    ) -> None:
        request = encode_request(_DATA)
        stop = threading.Event()
        answers: list[Answer] = []

        def ask_on(server: TimestampServer) -> None:
            while not stop.is_set():
                answers.append(server.ask(request))

        with (
            TimestampServer(arguments, environment) as server,
            ThreadPoolExecutor(_LOAD_THREADS) as pool,
        ):
            running = [pool.submit(ask_on, server) for _ in range(_LOAD_THREADS)]
            try:
                expect(answers, granted=True)
                deployment.kill()
                expect(answers, granted=False)
                deployment.start()
                expect(answers, granted=True)
            finally:
                stop.set()
            for future in running:
                future.result(timeout=120)
        assert {failure for answer in answers for failure in answer.failures} == {"system_failure"}
        assert max(answer.seconds for answer in answers) < self.sign_seconds + self.slack_seconds
        for answer in answers:
            if answer.granted:
                check_with_verifier(IssuedToken(request=request, response=answer.response, data=_DATA, chain=chain))
        assert not [s for s in deployment.secrets if s in server.log]

    def _recovered(self, server: TimestampServer, request: bytes) -> Answer:
        """Ask until a token comes, as clients do."""
        deadline = time.monotonic() + _RECOVERY_SECONDS
        while True:
            answer = server.ask(request)
            if answer.granted or time.monotonic() > deadline:
                return answer
            time.sleep(0.1)


class RotatingServerContract(ServerContract):
    """For a backend that can make another private key the newest of the same name."""

    keeps_versions: ClassVar[bool] = True
    """Whether the former key can still be found under the name, so that a new start finds the one that is certified."""

    def test_rotation_under_a_running_server_leaves_its_tokens_valid(
        self,
        deployment: Deployment,
        chain: tuple[Any, ...],
        arguments: list[str],
        environment: dict[str, str],
        tmp_path: Path,
    ) -> None:
        assert deployment.rotate is not None, "the deployment says how its backend makes a newer key of that name"
        request = encode_request(_DATA)
        with TimestampServer(arguments, environment) as server:
            assert server.ask(request).granted
            deployment.rotate()
            answer = server.ask(request)
        assert answer.granted
        check_with_openssl(IssuedToken(request=request, response=answer.response, data=_DATA, chain=chain), tmp_path)
        again = run(["check", *arguments], environment)
        if self.keeps_versions:
            assert again.returncode == 0, f"a new start must find the version that is certified: {again.stderr}"
            assert [fact for fact in deployment.facts if fact not in again.stdout] == []
            judged = run(["check-chain", arguments[-1], "--key", deployment.uri], environment)
            assert "key-is-the-signers\tpass" in judged.stdout, judged.stdout
        else:
            assert again.returncode == 2, "a new start must notice that the newest key is not the certificate's"
            assert len(again.stderr.splitlines()) == 1
            assert "is not the one that the certificate certifies" in again.stderr
