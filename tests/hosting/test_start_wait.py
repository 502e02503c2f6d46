"""`[server] start = "wait"`: a server whose backend or port is not there yet starts unready, and heals by itself."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests import pki
from tsa_backends.commands import run_command
from tsa_core.testing import ServerProcess, encode_request, wait_until

GRANTED = bytes.fromhex("3003020100")
SYSTEM_FAILURE = bytes.fromhex("03050600000040")
ENGINES = (
    pytest.param((), id="waitress"),
    pytest.param(("--workers", "2"), id="workers"),
    pytest.param(("--server", "granian"), id="granian", marks=pytest.mark.package("granian")),
)
BACKEND = """
from pathlib import Path
from typing import ClassVar

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from tsa_core.api import LocalKeySigner, Provider, SignerOptions, SignerUnavailable, hookimpl


class Backend(LocalKeySigner):
    latency: ClassVar = "remote"

    def details(self):
        return {"backend": "file"}


def open_signer(options):
    path = Path(options.uri.partition(":")[2])
    if not path.exists():
        raise SignerUnavailable("hsm.example:7000: connection refused")
    return Backend(load_pem_private_key(path.read_bytes(), None))


@hookimpl
def tsa_signers():
    yield Provider(name="backend", summary="There when its file is", options=SignerOptions, open=open_signer)
"""


class Backend:
    """A signer's backend that is there when `come` has been called."""

    def __init__(self, folder: Path, site: Path, *, start: str = "wait", more: str = "") -> None:
        self.key = folder / "backend.pem"
        (folder / "chain.pem").write_bytes(pki.pem(pki.chain("p256")))
        self.config = folder / "tsa.toml"
        self.config.write_text(
            f'[server]\nstart = "{start}"\n[metrics]\nenabled = false\n'
            f'[profiles.default]\nsigner = "backend:{self.key}"\ncertificate_chain = "chain.pem"\n{more}'
        )
        self.environ = {"PYTHONPATH": str(site)}

    def come(self, kind: str = "p256") -> None:
        """Be there, with the key of a kind; at once, as a rename is."""
        fresh = self.key.with_suffix(".new")
        key = pki.key(kind)
        fresh.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        fresh.rename(self.key)


@pytest.fixture
def site(fake_plugin: Callable[..., Path]) -> Path:
    return fake_plugin("backend", BACKEND)


def reasons(server: ServerProcess) -> dict[str, str]:
    """What /readyz says is wrong, by check."""
    checks = json.loads(server.get("/readyz").body)["checks"]
    return {check["name"]: check["reason"] for check in checks if not check["healthy"]}


@pytest.mark.parametrize("flags", ENGINES)
def test_backend_that_comes_later(flags: tuple[str, ...], tmp_path: Path, site: Path) -> None:
    backend = Backend(tmp_path, site)
    with ServerProcess(backend.config, *flags, environ=backend.environ) as server:
        assert server.get("/healthz").status == 200
        assert server.get("/ping").status == 200
        assert server.get("/readyz").status == 503
        assert reasons(server)["signer:default"] == "the signer has not been reached since the start; it is tried again"
        refused = server.stamp(encode_request())
        assert refused.status == 200
        assert SYSTEM_FAILURE in refused.body
        assert b"hsm.example" not in refused.body + server.get("/readyz").body
        assert server.get("/api/v1/timestamp/certchain").body.startswith(b"-----BEGIN")
        assert (
            "profiles.default.signer: hsm.example:7000: connection refused; the server starts without it" in server.log
        )
        backend.come()
        wait_until(lambda: server.get("/readyz").status == 200, seconds=60, what="the server is ready")
        wait_until(lambda: GRANTED in server.stamp(encode_request()).body[:16], seconds=60, what="it issues")
    assert "profile default: the signer has been reached" in server.log
    assert "Traceback" not in server.log


def test_other_profiles_issue_meanwhile(tmp_path: Path, site: Path) -> None:
    other = tmp_path / "other.pem"
    more = f'[profiles.other]\nsigner = "backend:{other}"\ncertificate_chain = "chain.pem"\n'
    backend = Backend(tmp_path, site, more=more)
    backend.come()
    backend.key.rename(other)
    with ServerProcess(backend.config, environ=backend.environ) as server:
        assert SYSTEM_FAILURE in server.stamp(encode_request()).body
        assert GRANTED in server.stamp(encode_request(), path="/tsa/other").body[:16]
        assert list(reasons(server)) == ["signer:default"]


def test_backend_that_comes_with_another_key_is_refused(tmp_path: Path, site: Path) -> None:
    backend = Backend(tmp_path, site)
    with ServerProcess(backend.config, environ=backend.environ) as server:
        backend.come("p384")
        server.wait_for_log("the signer cannot be opened: .*not the one that the certificate certifies")
        assert SYSTEM_FAILURE in server.stamp(encode_request()).body
        assert server.get("/readyz").status == 503
        backend.come()
        wait_until(lambda: GRANTED in server.stamp(encode_request()).body[:16], seconds=60, what="it issues")


def test_check_says_that_a_server_would_start_and_refuse(tmp_path: Path, site: Path) -> None:
    backend = Backend(tmp_path, site)
    result = run_command("check", "--config", backend.config, environ=backend.environ)
    assert result.returncode == 1, result.stderr
    assert "trial signature\tfailed: not reached since the start" in result.stdout
    assert "signer:default\tbad\tthe signer has not been reached since the start" in result.stdout
    assert "a server would start, but not everything is usable now" in result.stderr
    backend.come()
    assert run_command("check", "--config", backend.config, environ=backend.environ).returncode == 0


def test_chain_is_judged_before_the_backend_is_there(tmp_path: Path, site: Path) -> None:
    backend = Backend(tmp_path, site)
    chain = pki.chain("p256")
    (tmp_path / "chain.pem").write_bytes(pki.pem([chain[0]]))
    result = run_command("serve", "--config", backend.config, "--port", "0", environ=backend.environ)
    assert result.returncode == 2, result.stderr


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other


@pytest.mark.plugin("memory")
@pytest.mark.parametrize("setting", ["port", "metrics"])
def test_port_that_is_free_later(tmp_path: Path, taken: socket.socket, setting: str) -> None:
    config = tmp_path / "tsa.toml"
    port = taken.getsockname()[1]
    metrics = f"port = {port}" if setting == "metrics" else "enabled = false"
    config.write_text(f'[server]\nstart = "wait"\n[metrics]\n{metrics}\n[profiles.default]\nsigner = "memory:"\n')
    flags = ("--port", str(port)) if setting == "port" else ()
    with ServerProcess(config, *flags, wait_for="the server waits and tries again") as server:
        assert f"cannot listen on 127.0.0.1:{port}" in server.log
        taken.close()
        server.wait_for_log("listening on ")
        assert GRANTED in server.stamp(encode_request()).body[:16]


@pytest.mark.plugin("memory")
def test_stop_while_it_waits_for_a_port(tmp_path: Path, taken: socket.socket) -> None:
    config = tmp_path / "tsa.toml"
    config.write_text('[server]\nstart = "wait"\n[metrics]\nenabled = false\n[profiles.default]\nsigner = "memory:"\n')
    port = str(taken.getsockname()[1])
    with ServerProcess(config, "--port", port, wait_for="the server waits and tries again") as server:
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
