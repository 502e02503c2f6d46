"""The benchmarks' own tools: the open loop, the check that tokens were granted, the peers' files and the page."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import bench.capacity.__main__ as capacity
import bench.page
from bench import open_loop, peers, rounds
from bench.capacity.arithmetic import Sheet
from bench.measure import RunningServer
from bench.page import Section, page
from bench.report import Row
from tests.serving import Parts, Server, TestSigner, running_server
from tsa_core.api import SignerUnavailable
from tsa_core.testing import encode_request

REQUEST = encode_request()
_SIGNING_SECONDS = 0.02
_NEEDS_COMPILER = pytest.mark.needs(shutil.which("cc") is not None, "builds the load generator with cc")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as running:
        yield running


@_NEEDS_COMPILER
@pytest.mark.parametrize("close", [False, True], ids=["kept", "new"])
def test_the_open_loop_asks_as_often_as_it_was_told_to(server: Server, close: bool) -> None:
    found = open_loop.ask(server.address[1], rate=100, seconds=0.5, connections=4, close=close)
    assert found.errors == 0
    assert 20 <= len(found.latencies_ms) <= 100, "a Poisson process of 50 on average; the same one in each run"
    assert len(found.late_ms) == len(found.latencies_ms)


@_NEEDS_COMPILER
@pytest.mark.parametrize("close", [False, True], ids=["kept", "new"])
def test_with_a_rate_of_0_each_connection_asks_when_it_has_its_answer(server: Server, close: bool) -> None:
    found = open_loop.ask(server.address[1], rate=0, seconds=0.2, connections=4, close=close)
    assert found.errors == 0
    assert len(found.latencies_ms) >= 4


@_NEEDS_COMPILER
def test_time_that_requests_wait_for_a_connection_counts() -> None:
    """One connection cannot answer what is due all at once, so the last one waits for all before it."""
    signer = TestSigner()
    sign = signer.sign
    pause = threading.Event()

    def sign_slowly(message: bytes, *, timeout: float) -> bytes:
        pause.wait(_SIGNING_SECONDS)
        return sign(message, timeout=timeout)

    signer.sign = sign_slowly  # type: ignore[method-assign]
    with running_server(Parts(signers={"p256": signer})) as slow:
        found = open_loop.ask(slow.address[1], rate=100_000, seconds=0.0001, connections=1)
    assert found.errors == 0
    assert len(found.latencies_ms) >= 3
    assert max(found.latencies_ms) >= 1000 * _SIGNING_SECONDS * len(found.latencies_ms)


@_NEEDS_COMPILER
def test_replies_that_are_not_granted_are_errors() -> None:
    signer = TestSigner()
    with running_server(Parts(signers={"p256": signer})) as refusing:
        signer.failure = SignerUnavailable("down")
        found = open_loop.ask(refusing.address[1], rate=100, seconds=0.2, connections=2)
    assert not found.latencies_ms
    assert found.errors > 0


def test_a_machine_without_a_compiler_has_no_generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(open_loop.NoGenerator, match="cc, which is not on the path"):
        open_loop.generator()


def _run(per_second: int, *, latency_ms: float = 1.0, other_cores: float = 0.0) -> open_loop.Run:
    latencies = open_loop.Latencies(
        seconds=1.0, errors=0, cpu_seconds=0.1, latencies_ms=[latency_ms] * per_second, late_ms=[0.0] * per_second
    )
    return open_loop.Run(latencies=latencies, server_cores=0.8, other_cores=other_cores, stolen_cores=0.0)


def _round(*, after: int = 1000, latency_ms: float = 1.0, other_cores: float = 0.0) -> rounds.Round:
    run = _run(800, latency_ms=latency_ms, other_cores=other_cores)
    return rounds.Round(before=_run(1000), run=run, after=_run(after))


def test_rounds_in_which_others_had_the_machine_are_measured_again() -> None:
    """A pause of the server's own, the 500 ms here, is no reason to."""
    slower, busy = _round(after=700), _round(other_cores=0.5)
    quiet = [_round(), _round(latency_ms=500.0), _round(after=950)]
    coming = iter([slower, quiet[0], busy, quiet[1], quiet[2], _round()])
    found = rounds.by_turns({"ours": lambda: next(coming)}, rounds=4, turns=6, what="a test")["ours"]
    assert [each in found for each in (slower, busy, *quiet)] == [False, False, True, True, True]
    assert rounds.figures(found)["disturbed"] == 0


def test_the_least_disturbed_rounds_are_shown_when_there_are_not_enough_quiet_ones() -> None:
    coming = iter([_round(after=700), _round(), _round(after=300)])
    found = rounds.by_turns({"ours": lambda: next(coming)}, rounds=2, turns=3, what="a test")["ours"]
    assert [each.after.latencies.per_second for each in found] == [1000, 700]
    assert rounds.figures(found)["disturbed"] == 1


def test_a_pause_in_one_round_shows_in_all_of_them_together_and_not_in_the_median_round() -> None:
    found = rounds.figures([_round(latency_ms=ms) for ms in (1.0, 2.0, 500.0)])
    assert (found["p99.9 ms"], found["median p99.9 ms"]) == (500.0, 2.0)


def test_percentiles_are_over_the_requests_of_all_runs() -> None:
    """A pause in one run of many is no less of one: a median over the runs would not show it."""
    runs = [_run(1000, latency_ms=latency_ms).latencies for latency_ms in (1.0, 1.0, 50.0)]
    found = open_loop.figures(runs)
    assert (found["p50 ms"], found["p99 ms"], found["p99.9 ms"], found["worst ms"]) == (1.0, 50.0, 50.0, 50.0)


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


def test_each_table_of_capacity_says_when_it_was_measured() -> None:
    sheet = Sheet(name="keys", title="", columns=("a", "b"), rows=[("1", "2")])
    tables = [capacity.markdown(sheet)]
    tables += re.findall(r"<!-- figures: .*?\n(.*?)<!-- end of figures", capacity.PAGE.read_text("utf-8"), re.DOTALL)
    assert len(tables) == 6
    for table in tables:
        assert re.search(r"\|\n\nMeasured on 20[0-9]{2}-[0-9]{2}-[0-9]{2}\.\n$", table)
