"""Several processes on one address: one chain, no lost requests, replaced when they die, gone when told."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tsa_backends.server_process import free_port
from tsa_core.protocol.hashes import SHA256
from tsa_core.protocol.request import encode_request
from tsa_core.testing import ServerProcess, wait_until

pytestmark = pytest.mark.plugin("memory")

REQUEST = encode_request(algorithm=SHA256, digest=bytes(32), nonce=1, cert_req=True)
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("TSA_")}
DEADLINE_SECONDS = 120.0

ENGINES = [
    pytest.param(("--server", "waitress", "--workers", "2"), id="waitress"),
    pytest.param(("--server", "granian", "--workers", "2"), id="granian"),
]


@pytest.fixture(scope="module", params=ENGINES)
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    with ServerProcess(None, "--port", "0", *request.param) as running:
        yield running


def test_all_workers_sign_under_one_chain(server: ServerProcess) -> None:
    chains = {server.get("/api/v1/timestamp/certchain").body for _ in range(20)}
    assert len(chains) == 1


def test_serial_numbers_differ_across_workers(server: ServerProcess) -> None:
    replies = [server.stamp(REQUEST) for _ in range(50)]
    assert {status for status, _, _ in replies} == {200}
    found = [re.search(rb"\x02\x14[\x40-\x7f].{19}", body, re.DOTALL) for _, _, body in replies]
    assert len({serial[0] for serial in found if serial}) == 50


@pytest.mark.needs(Path("/proc/self/task").exists(), "finds workers through /proc")
def test_a_worker_that_dies_is_replaced(server: ServerProcess) -> None:
    before = server.workers()
    assert len(before) >= 2
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    wait_until(
        lambda: len(server.workers() - {victim}) >= len(before), seconds=DEADLINE_SECONDS, what="the worker is replaced"
    )
    for _ in range(20):
        assert server.stamp(REQUEST).status == 200


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.needs(Path("/proc/self/task").exists(), "finds workers through /proc")
def test_sigterm_ends_the_server_and_all_workers(engine: tuple[str, ...]) -> None:
    with ServerProcess(None, "--port", "0", *engine) as server:
        workers = server.workers()
        assert server.get("/ping").body == b"."
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(DEADLINE_SECONDS) == 0
        assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]


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
