"""The benchmarks' own tools: the open loop, the check that tokens were granted, the peers' files and the page."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import bench.page
from bench import peers
from bench.measure import RunningServer
from bench.open_loop import OpenLoop
from bench.page import Section, page
from bench.report import Row
from tests.serving import Parts, Server, TestSigner, running_server
from tsa_core.api import SignerUnavailable
from tsa_core.testing import encode_request

REQUEST = encode_request()
_SIGNING_SECONDS = 0.02


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as running:
        yield running


@pytest.mark.parametrize("close", [False, True], ids=["kept", "new"])
def test_the_open_loop_asks_as_often_as_it_was_told_to(server: Server, close: bool) -> None:
    found = OpenLoop(server.address[1], rate=100, seconds=0.5, connections=4, close=close).run()
    assert found.errors == 0
    assert 20 <= found.requests <= 100, "a Poisson process of 50 on average; the same one in each run"
    assert found.p50_ms <= found.p99_ms <= found.p999_ms <= found.max_ms


def test_time_that_requests_wait_for_a_connection_counts(server: Server) -> None:
    """One connection cannot answer what is due all at once, so the last one waits for all before it."""
    signer = TestSigner()
    sign = signer.sign
    pause = threading.Event()

    def sign_slowly(message: bytes, *, timeout: float) -> bytes:
        pause.wait(_SIGNING_SECONDS)
        return sign(message, timeout=timeout)

    signer.sign = sign_slowly  # type: ignore[method-assign]
    with running_server(Parts(signers={"p256": signer})) as slow:
        found = OpenLoop(slow.address[1], rate=100_000, seconds=0.0001, connections=1).run()
    assert found.errors == 0
    assert found.requests >= 3
    assert found.max_ms >= 1000 * _SIGNING_SECONDS * found.requests


def test_replies_that_are_not_granted_are_errors() -> None:
    signer = TestSigner()
    with running_server(Parts(signers={"p256": signer})) as refusing:
        signer.failure = SignerUnavailable("down")
        found = OpenLoop(refusing.address[1], rate=100, seconds=0.2, connections=2).run()
    assert found.requests == 0
    assert found.errors > 0


class _Idle(RunningServer):
    def _answers(self) -> bool:
        return True


def test_a_load_of_which_a_part_was_refused_is_no_figure() -> None:
    idle = _Idle([sys.executable, "-c", "input()"], port=1)
    granted = b"HTTP/1.1 200 OK\r\n\r\n0\x82\x06\x00" + b"\x30\x03\x02\x01\x00" + bytes(1500)
    try:
        idle.check_granted(granted, len(granted) - 3)
        with pytest.raises(RuntimeError, match="some requests were refused"):
            idle.check_granted(granted, 0.95 * len(granted))
        idle.check_granted(b"HTTP/1.1 200 OK\r\n\r\nno token", 3)
    finally:
        idle.close()


@pytest.mark.needs(shutil.which("openssl") is not None, "runs openssl")
def test_openssl_issues_with_the_configuration_of_the_peers(tmp_path: Path) -> None:
    """uts-server reads the same sections, and a few of its own."""
    (tmp_path / "r.tsq").write_bytes(REQUEST)
    config = peers.write_uts_config(tmp_path, 3001)
    assert "listening_ports = 127.0.0.1:3001" in config.read_text()
    command = ["openssl", "ts", "-reply", "-config", str(config), "-queryfile", "r.tsq", "-out", "r.tsr"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    assert (tmp_path / "r.tsr").read_bytes()[4:9] == b"\x30\x03\x02\x01\x00"


def test_a_peer_that_is_not_here_is_named_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "reference_programs", lambda: "go is not here")
    monkeypatch.setenv("PATH", str(tmp_path))
    with peers.peer_servers(tmp_path) as (running, missing):
        assert running == {}
        assert missing["Sigstore, Go"] == "go is not here"
        assert "not on the path" in missing["uts-server"]


def test_a_peer_that_does_not_start_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "reference_programs", lambda: tmp_path)
    program = tmp_path / "uts-server"
    program.write_text("#!/bin/sh\necho 'no such option' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with peers.peer_servers(tmp_path) as (running, missing):
        assert running == {}
        assert missing["uts-server"] == "the server did not start: no such option"
        assert "timestamp-server" in missing["Sigstore, Go"]


def test_a_part_of_the_page_that_fails_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> Section:
        raise RuntimeError("the server did not start:\n no port")

    monkeypatch.setitem(bench.page.PARTS, "start", fail)
    text = page([bench.page.measured("start", rounds=1, seconds=1.0)], rounds=1)
    assert text.endswith("## Start and memory\n\nNot measured: the server did not start: no port\n")


def test_the_page_has_a_column_for_each_figure_and_says_what_is_missing() -> None:
    rows = [
        Row(part="servers", name="ours", figures={"CPU us": 50.0, "of theirs": 0.25}),
        Row(part="servers", name="theirs", figures={"CPU us": 200.0}),
    ]
    section = Section(name="servers", rows=rows, values={"bare": "22.00", "missing": " x was not measured: y."})
    text = page([section], rounds=5)
    assert "medians of 5 interleaved rounds" in text
    assert "22.00 us here" in text
    assert "x was not measured: y." in text
    assert "| | CPU us | of theirs |" in text
    assert "| ours | 50.00 | 0.25 |" in text
    assert "| theirs | 200.00 |  |" in text
