"""The last line of the log says that every request was answered only where that is so."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.rotation import FLAGS, TsaDirectory
from tsa_core.hosting.answered import Answered
from tsa_core.hosting.granian.kernel_connections import KernelConnections
from tsa_core.hosting.workers.pool import WorkerPool
from tsa_core.testing import ServerProcess, encode_request

pytestmark = [pytest.mark.plugin("file"), pytest.mark.usefixtures("servers_from_the_beginning")]

ANSWERED = "stopped: every request that had arrived was answered"
CUT_OFF = "stopped: requests were cut off; see the lines above"
HEAD = (
    b"POST /api/v1/timestamp HTTP/1.1\r\nHost: tsa\r\n"
    b"Content-Type: application/timestamp-query\r\nContent-Length: %d\r\n\r\n"
)


def stopped_log(folder: Path, engine: str, sent: bytes, *, answered: bool) -> str:
    """Send octets, stop the server while the connection is open, and return its log."""
    # A short one would be over before a busy machine has answered.
    tsa = TsaDirectory(folder, server=f'graceful_timeout = "{"30s" if answered else "500ms"}"')
    with ExitStack() as stack:
        with ServerProcess(tsa.config, *FLAGS[engine]) as server:
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 60))
            client.sendall(sent)
            if answered:
                assert client.recv(12) == b"HTTP/1.1 200"
            else:
                # Answered later than those octets have arrived, by a loop that reads what is there.
                assert all(server.stamp(encode_request(b"meanwhile")).status == 200 for _ in range(5))
        return server.log


@pytest.mark.parametrize("engine", FLAGS)
def test_all_answered(engine: str, tmp_path: Path) -> None:
    body = encode_request(b"the document")
    log = stopped_log(tmp_path, engine, HEAD % len(body) + body, answered=True)
    assert ANSWERED in log
    assert CUT_OFF not in log


@pytest.mark.parametrize("engine", FLAGS)
def test_a_request_that_is_cut_off(engine: str, tmp_path: Path) -> None:
    log = stopped_log(tmp_path, engine, HEAD % 100, answered=False)
    assert CUT_OFF in log
    assert ANSWERED not in log


def test_a_worker_that_died_took_its_requests_with_it() -> None:
    former = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    calls: list[int] = []

    def work(report: Callable[[Mapping[str, object]], None], _slot: int) -> None:
        report({})
        signal.pause()

    def idle(_seconds: float) -> None:
        calls.append(1)
        alive = [slot.pid for slot in pool._slots if slot.pid is not None]
        if len(calls) == 1:
            os.kill(alive[0], signal.SIGKILL)
        elif pool._answered is not Answered.ALL:
            os.kill(os.getpid(), signal.SIGTERM)

    pool = WorkerPool(work, count=1, idle=idle)
    try:
        assert pool.run(lambda _facts: None, graceful_seconds=5) is Answered.NOT_ALL
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("engine", FLAGS)
def test_a_head_that_is_cut_off(engine: str, tmp_path: Path) -> None:
    log = stopped_log(tmp_path, engine, HEAD[:40], answered=False)
    assert CUT_OFF in log
    assert ANSWERED not in log


@pytest.mark.parametrize("engine", ["granian", "granian-2"])
def test_what_arrives_where_nothing_can_be_seen_is_said_to_be_unknown(engine: str, tmp_path: Path) -> None:
    """A Unix socket's connections tell nothing, on Linux too; on other systems no connection does."""
    tsa = TsaDirectory(tmp_path, server='graceful_timeout = "500ms"')
    path = tmp_path / "tsa.sock"
    flags = ["--scheme", "http,unix", "--socket-path", str(path)]
    with socket.socket(socket.AF_UNIX) as client, socket.socket(socket.AF_UNIX) as later:
        with ServerProcess(tsa.config, *FLAGS[engine], *flags) as server:
            client.connect(str(path))
            client.sendall(HEAD[:40])
            later.connect(str(path))  # which is accepted after the other
            later.sendall(b"GET /ping HTTP/1.1\r\nHost: tsa\r\n\r\n")
            assert later.recv(12) == b"HTTP/1.1 200"
            assert all(server.stamp(encode_request(b"meanwhile")).status == 200 for _ in range(5))
        log = server.log
    assert Answered.NOT_KNOWN.text in log
    assert "connections to granian are still open that this system does not show" in log
    assert "hangs" not in log
    assert ANSWERED not in log
    assert CUT_OFF not in log


def test_what_a_worker_does_not_know_its_parent_does_not_know_either() -> None:
    former = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}

    def work(report: Callable[[Mapping[str, object]], None], slot: int) -> Answered | None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        report({})
        signal.sigwait({signal.SIGTERM})
        return [None, Answered.NOT_KNOWN][slot]

    pool = WorkerPool(work, count=2)
    try:
        assert pool.run(lambda _facts: pool._stop(), graceful_seconds=30) is Answered.NOT_KNOWN
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@pytest.mark.parametrize(("platform", "seen"), [("linux", True), ("darwin", False)])
def test_connections_are_seen_on_linux_alone(platform: str, seen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        connections = KernelConnections([listening])
        monkeypatch.setattr(sys, "platform", platform)
        assert connections.all_visible is seen
