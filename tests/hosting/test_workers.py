"""Several processes on one address: one chain, no lost requests, replaced when they die, gone when told."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tsa_backends.server_process import free_port
from tsa_core.protocol.hashes import SHA256
from tsa_core.protocol.request import encode_request

pytestmark = pytest.mark.plugin("memory")

REQUEST = encode_request(algorithm=SHA256, digest=bytes(32), nonce=1, cert_req=True)
HEADERS = {"Content-Type": "application/timestamp-query"}
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("TSA_")}
DEADLINE_SECONDS = 60.0

needs_granian = pytest.mark.package("granian")
ENGINES = [
    pytest.param(("--server", "waitress", "--workers", "2"), id="waitress"),
    pytest.param(("--server", "granian", "--workers", "2"), id="granian", marks=needs_granian),
]


class Server:
    """A `timestamp-server serve` process."""

    def __init__(self, *arguments: str) -> None:
        self.port = free_port()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tsa_core.cli.server", "serve", "--port", str(self.port), *arguments],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if re.search(r"listening on", line):
                return
        raise AssertionError(f"ended with {self.process.wait()} before it listened")

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, HEADERS if body else {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def children(self) -> list[int]:
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(child) for child in path.read_text().split()]

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)  # its own session: the server and its workers, nobody else
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="module", params=ENGINES)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    running = Server(*request.param)
    yield running
    running.close()


def test_all_workers_sign_under_one_chain(server: Server) -> None:
    chains = {server.ask("GET", "/api/v1/timestamp/certchain")[1] for _ in range(20)}
    assert len(chains) == 1


def test_serial_numbers_differ_across_workers(server: Server) -> None:
    replies = [server.ask("POST", "/api/v1/timestamp", REQUEST) for _ in range(50)]
    assert {status for status, _ in replies} == {200}
    found = [re.search(rb"\x02\x14[\x40-\x7f].{19}", body, re.DOTALL) for _, body in replies]
    assert len({serial[0] for serial in found if serial}) == 50


@pytest.mark.needs(Path("/proc/self/task").exists(), "finds workers through /proc")
def test_a_worker_that_dies_is_replaced(server: Server) -> None:
    before = set(server.children())
    assert len(before) >= 2
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while len(set(server.children()) - {victim}) < len(before):
        assert time.monotonic() < deadline, "the worker was not replaced"
        time.sleep(0.05)
    for _ in range(20):
        assert server.ask("POST", "/api/v1/timestamp", REQUEST)[0] == 200


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.needs(Path("/proc/self/task").exists(), "finds workers through /proc")
def test_sigterm_ends_the_server_and_all_workers(engine: tuple[str, ...]) -> None:
    server = Server(*engine)
    try:
        workers = server.children()
        assert server.ask("GET", "/ping") == (200, b".")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(DEADLINE_SECONDS) == 0
        assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]
    finally:
        server.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_what_a_worker_cannot_open_is_one_line(engine: tuple[str, ...], tmp_path: Path) -> None:
    """The chain is read in the workers; its absence reaches the operator as if there were only one process."""
    result = subprocess.run(
        [
            *(sys.executable, "-m", "tsa_core.cli.server", "serve", "--port", str(free_port()), *engine),
            *("--timestamp-signer", "memory", "--certificate-chain-path", str(tmp_path / "nope.pem")),
        ],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    errors = [line for line in result.stderr.splitlines() if "error:" in line]
    assert len(errors) == 1
    assert "nope.pem: the certificate chain cannot be read" in errors[0]
