"""One process watches the clock for all workers; when it dies, no worker's gate stays open."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rotation import TsaDirectory
from tsa_core.testing import ServerProcess, encode_request, wait_until
from tsa_core.testing.ntp_responder import NtpResponder

pytestmark = [
    pytest.mark.plugin("file", "ntp"),
    pytest.mark.needs(Path("/proc/self/task").exists(), "finds processes through /proc"),
]

REQUEST = encode_request(b"a document")
TIME_NOT_AVAILABLE = bytes.fromhex("0303010002")
each_engine = pytest.mark.parametrize("engine", ["waitress", "granian"])


@pytest.fixture
def responder() -> Iterator[NtpResponder]:
    with NtpResponder() as running:
        yield running


def clock(responder: NtpResponder, *, period: str, more: str = "") -> str:
    return (
        f'[clock]\nmonitors = ["ntp"]\n{more}\n[clock.ntp]\nservers = ["{responder.server}"]\nnum_servers = 1\n'
        f'server_threshold = 1\nrequest_attempts = 1\nrequest_timeout = "300ms"\nperiod = "{period}"\n'
    )


def patient(table: str) -> str:
    """Return the table with time for a busy machine's answer: with a long period there is one round only."""
    return table.replace('request_timeout = "300ms"', 'request_timeout = "5s"')


def granted(server: ServerProcess) -> bool:
    return b"\x02\x01\x00" in server.stamp(REQUEST).body[:12]


def all_grant(server: ServerProcess) -> bool:
    """Say whether each of many requests is granted, so that every worker was asked."""
    return all(granted(server) for _ in range(30))


@each_engine
@pytest.mark.parametrize("workers", [1, 3])
def test_workers_ask_the_time_servers_once(engine: str, workers: int, responder: NtpResponder, tmp_path: Path) -> None:
    """With twenty minutes between rounds, every monitor that runs asks exactly once."""
    tsa = TsaDirectory(tmp_path, tables=patient(clock(responder, period="20m")))
    with tsa.served(engine, "--workers", str(workers)) as server:
        wait_until(lambda: all_grant(server), seconds=30, what="every worker has the verdict")
        assert responder.requests == 1
        assert tsa.reload().succeeded
        assert all_grant(server)
        assert responder.requests == 1, "a reload that leaves [clock] alone asks nobody"
        tsa.configure(tables=patient(clock(responder, period="25m")))
        assert tsa.reload().succeeded
        assert all_grant(server), "new monitors are waited for before they are used"
        assert responder.requests == 2


def clock_process(parent: int) -> int | None:
    """Return the process that watches the clock for the workers of `parent`."""
    for children in Path(f"/proc/{parent}/task").glob("*/children"):
        for child in children.read_text().split():
            if b"clock_process" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
    return None


@each_engine
def test_gates_close_when_the_clock_process_is_dead(engine: str, responder: NtpResponder, tmp_path: Path) -> None:
    tsa = TsaDirectory(tmp_path, tables=clock(responder, period="200ms"))
    with tsa.served(engine, "--workers", "2") as server:
        wait_until(lambda: all_grant(server), seconds=30, what="every worker has the verdict")
        process = clock_process(tsa.report().pid)
        assert process is not None
        os.kill(process, signal.SIGSTOP)
        try:
            wait_until(lambda: not any(granted(server) for _ in range(20)), seconds=30, what="every worker refuses")
            reply = server.stamp(REQUEST).body
            assert TIME_NOT_AVAILABLE in reply
            assert b"a clock monitor has stopped working" in reply
        finally:
            os.kill(process, signal.SIGCONT)
        wait_until(lambda: all_grant(server), seconds=30, what="every worker issues again")


@each_engine
def test_a_clock_process_that_ends_is_replaced(engine: str, responder: NtpResponder, tmp_path: Path) -> None:
    """Until the new one has measured, the verdicts of the old one serve as long as they stand."""
    tsa = TsaDirectory(tmp_path, tables=patient(clock(responder, period="60s")))
    with tsa.served(engine, "--workers", "2") as server:
        wait_until(lambda: all_grant(server), seconds=30, what="every worker has the verdict")
        parent = tsa.report().pid
        first = clock_process(parent)
        assert first is not None
        assert responder.requests == 1
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: clock_process(parent) not in {None, first}, seconds=30, what="a new process")
        assert all_grant(server)
        wait_until(lambda: responder.requests == 2, seconds=30, what="the new process asks")
        assert all_grant(server)
        server.wait_for_log("the process that runs the clock monitors ended .* and is replaced")


def test_a_wrong_clock_closes_every_worker(responder: NtpResponder, tmp_path: Path) -> None:
    tsa = TsaDirectory(tmp_path, tables=clock(responder, period="200ms"))
    with tsa.served("waitress", "--workers", "2") as server:
        wait_until(lambda: all_grant(server), seconds=30, what="every worker has the verdict")
        responder.offset = 60.0
        wait_until(lambda: not any(granted(server) for _ in range(20)), seconds=30, what="every worker refuses")
        server.wait_for_log(
            r"(?i)\bwarning\b.*time servers: the clock differs"
        )  # the clock's process logs through its parent
        responder.offset = 0.0
        wait_until(lambda: all_grant(server), seconds=30, what="every worker issues again")


def test_a_monitor_that_cannot_be_opened_is_one_line(tmp_path: Path, responder: NtpResponder) -> None:
    tsa = TsaDirectory(tmp_path, tables=clock(responder, period="200ms").replace("num_servers = 1", "num_servers = 9"))
    with pytest.raises(AssertionError, match=r"(?s)ended with 2:.*error: [^\n]*num_servers"), tsa.served("waitress-2"):
        pass


@each_engine
def test_no_process_outlives_a_parent_that_was_killed(engine: str, responder: NtpResponder, tmp_path: Path) -> None:
    tsa = TsaDirectory(tmp_path, tables=clock(responder, period="200ms"))
    with tsa.served(engine, "--workers", "2") as server:
        wait_until(lambda: all_grant(server), seconds=30, what="every worker has the verdict")
        parent = tsa.report().pid
        everyone = [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
        assert len(everyone) == 3
        assert parent == server.process.pid
        server.kill()
        wait_until(lambda: not any(map(_runs, everyone)), seconds=30, what="workers and clock process end")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_denial_is_obeyed_after_a_reload_in_another_process(responder: NtpResponder, tmp_path: Path) -> None:
    """A reload with other settings of the monitor starts another process for it."""
    with NtpResponder() as denying:
        denying.stratum, denying.reference = 0, b"DENY"

        def both(period: str) -> str:
            table = patient(clock(responder, period=period)).replace("num_servers = 1", "num_servers = 2")
            return table.replace("servers = [", f'servers = ["{denying.server}", ')

        tsa = TsaDirectory(tmp_path, tables=both("20m"))
        with tsa.served("waitress", "--workers", "2") as server:
            wait_until(lambda: all_grant(server), seconds=30, what="every worker has the verdict")
            assert denying.requests == 1
            tsa.configure(tables=both("25m"))
            assert tsa.reload().succeeded
            assert all_grant(server)
            assert responder.requests == 2
            assert denying.requests == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_refuses_an_accuracy_that_the_clock_may_drift_out_of(
    workers: int, responder: NtpResponder, tmp_path: Path
) -> None:
    tsa = TsaDirectory(tmp_path, tables=patient(clock(responder, period="1m")))
    with tsa.served("waitress", "--workers", str(workers)) as server:
        wait_until(lambda: all_grant(server), seconds=30, what="every worker has the verdict")
        tsa.configure(profile='accuracy = "10ms"', tables=patient(clock(responder, period="1m")))
        report = tsa.reload()
        assert not report.succeeded
        assert "60 s apart, the clock may drift by 30 ms" in report.message
        assert all_grant(server)
        tsa.configure(profile='accuracy = "10ms"', tables=clock(responder, period="10s"))
        assert tsa.reload().succeeded
