"""The demands of tsa-core on every signer, against a real signd in a process of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tsa_core.api import ConfigError, Signer, SignerError, SignerUnavailable
from tsa_core.testing import (
    Pki,
    ProviderContract,
    ServerProcess,
    SignerContract,
    encode_request,
    new_key,
    wait_until,
)

from tsa_signer_signd import plugin as this_plugin
from tsa_signer_signd import wire

PIN = "correct-horse"
# PKIStatusInfo of a grant, and failInfo systemFailure.
GRANTED = bytes.fromhex("3003020100")
SYSTEM_FAILURE = bytes.fromhex("03050600000040")


class Signd:
    """A signd that a test can stop and start again."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "s"
        self._keys = []
        for name, kind in (("p256", "ecdsa-p256"), ("p384", "ecdsa-p384"), ("p521", "ecdsa-p521")):
            path = folder / f"{name}.pem"
            path.write_bytes(new_key(kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            self._keys.append(f"{name}={path}")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "tsa_signer_signd.daemon", str(self.socket), *self._keys]
        self._process = subprocess.Popen(command, env={**os.environ, "SIGND_PIN": PIN}, stderr=subprocess.DEVNULL)
        wait_until(self._answers, seconds=30, what="signd answers")

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None
        self.socket.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def shared_signd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signd]:
    """Run one signd for all tests that leave it alone."""
    signd = Signd(tmp_path_factory.mktemp("signd"))
    signd.start()
    yield signd
    signd.stop()


@pytest.fixture
def own_signd(tmp_path: Path) -> Iterator[Signd]:
    """Run a signd that the test may stop."""
    signd = Signd(tmp_path)
    signd.start()
    yield signd
    signd.stop()


@pytest.fixture
def silent_socket(tmp_path: Path) -> Iterator[Path]:
    """Listen on a Unix socket and never answer."""
    path = tmp_path / "silent"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        yield path


def open_signer(path: Path, uri: str = "signd:p256", pin: str = PIN) -> Signer:
    [provider] = this_plugin.tsa_signers()
    return provider.open(provider.options.model_validate({"uri": uri, "socket": str(path), "pin": pin}))


class TestSigndProvider(ProviderContract):
    """Names, options, metadata, and that importing the plugin costs nothing."""

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return this_plugin

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {"socket": "/run/signd.sock", "pin": PIN}


class TestSigndSigner(SignerContract):
    """Signatures, threads, outages and secrets, with a key on each curve."""

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return this_plugin

    @pytest.fixture
    def options(self, shared_signd: Signd) -> Mapping[str, Any]:
        return {"socket": str(shared_signd.socket), "pin": PIN}

    @pytest.fixture(params=["p256", "p384", "p521"])
    def uri(self, request: pytest.FixtureRequest) -> str:
        return f"signd:{request.param}"

    @pytest.fixture
    def unreachable_signer(self, own_signd: Signd) -> Signer:
        signer = open_signer(own_signd.socket)
        own_signd.stop()
        return signer

    @pytest.fixture
    def silent_signer(self, own_signd: Signd, silent_socket: Path) -> Signer:
        signer = open_signer(own_signd.socket)
        own_signd.stop()
        silent_socket.rename(own_signd.socket)
        return signer

    @pytest.fixture
    def nonsense_signer(self, own_signd: Signd) -> Iterator[Signer]:
        signer = open_signer(own_signd.socket)
        own_signd.stop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(own_signd.socket))
            listener.listen()
            threading.Thread(target=_answer_nonsense, args=(listener,), daemon=True).start()
            yield signer
            listener.shutdown(socket.SHUT_RDWR)


def _answer_nonsense(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"<html>Please log in</html>")


class TestOutages:
    """What a server's operator sees when signd is not there."""

    def test_silence_ends_with_the_timeout(self, own_signd: Signd, silent_socket: Path) -> None:
        signer = open_signer(own_signd.socket)
        own_signd.stop()
        silent_socket.rename(own_signd.socket)
        with pytest.raises(SignerUnavailable, match=r"did not answer within 0\.3 s"):
            signer.sign(b"message", timeout=0.3)

    def test_answer_in_single_bytes_ends_with_the_timeout(self, own_signd: Signd) -> None:
        signer = open_signer(own_signd.socket)
        own_signd.stop()
        stop = threading.Event()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(own_signd.socket))
            listener.listen()

            def drip() -> None:
                connection, _ = listener.accept()
                with connection:
                    while not stop.wait(0.05):
                        try:
                            connection.send(b" ")
                        except OSError:
                            return

            thread = threading.Thread(target=drip)
            thread.start()
            try:
                with pytest.raises(SignerUnavailable, match="did not answer within"):
                    signer.sign(b"message", timeout=0.3)
            finally:
                stop.set()
                thread.join()

    def test_nobody_there_at_start(self, tmp_path: Path) -> None:
        with pytest.raises(SignerUnavailable, match="cannot be reached: No such file or directory"):
            open_signer(tmp_path / "nothing")

    def test_it_signs_again_when_signd_is_back(self, own_signd: Signd) -> None:
        signer = open_signer(own_signd.socket)
        own_signd.stop()
        with pytest.raises(SignerUnavailable):
            signer.sign(b"message", timeout=1)
        own_signd.start()
        assert signer.algorithm.is_valid(signer.public_key, signer.sign(b"message", timeout=5), b"message")


class TestMistakes:
    """What an operator got wrong."""

    def test_wrong_pin(self, shared_signd: Signd) -> None:
        with pytest.raises(SignerError, match="refuses: the PIN is wrong") as caught:
            open_signer(shared_signd.socket, pin="battery-staple")
        assert "battery-staple" not in str(caught.value)

    def test_unknown_key(self, shared_signd: Signd) -> None:
        with pytest.raises(SignerError, match="refuses: there is no such key"):
            open_signer(shared_signd.socket, uri="signd:nothing")

    def test_uri_without_a_key(self, shared_signd: Signd) -> None:
        with pytest.raises(ConfigError, match="the key URI names no key; write it as signd:KEY"):
            open_signer(shared_signd.socket, uri="signd:")

    def test_socket_is_for_its_user_alone(self, shared_signd: Signd) -> None:
        assert shared_signd.socket.stat().st_mode & 0o077 == 0

    @pytest.mark.parametrize("line", [b"", b"nonsense\n", b"[]\n", b'{"pin": "correct-horse", "key": "p256"}\n'])
    def test_signd_survives_nonsense(self, shared_signd: Signd, line: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(str(shared_signd.socket))
            connection.sendall(line)
            connection.shutdown(socket.SHUT_WR)
            assert "error" in wire.decode(connection.makefile("rb").readline())


class TestServer:
    """A timestamp server that signs through signd."""

    @pytest.fixture
    def config(self, own_signd: Signd, tmp_path: Path, tsa_pki: Pki) -> Path:
        tsa_pki.write_chain(tmp_path / "chain.pem", open_signer(own_signd.socket).public_key)
        path = tmp_path / "tsa.toml"
        path.write_text(
            '[profiles.default]\nsigner = "signd:p256"\ncertificate_chain = "chain.pem"\nsigner_timeout = "2s"\n'
            f'[signer.signd]\nsocket = "{own_signd.socket}"\npin = {{ env = "SIGND_PIN" }}\n'
        )
        return path

    def test_outage_is_system_failure_and_ends(self, config: Path, own_signd: Signd) -> None:
        with ServerProcess(config, environ={"SIGND_PIN": PIN}) as server:
            assert GRANTED in server.stamp(encode_request()).body[:16]
            own_signd.stop()
            assert SYSTEM_FAILURE in server.stamp(encode_request()).body
            own_signd.start()
            assert GRANTED in server.stamp(encode_request()).body[:16]
            server.wait_for_log("cannot be reached")
            assert PIN not in server.log
