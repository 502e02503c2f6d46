"""A real server with the sink: recorded before it leaves, withheld on a full disk, shared by workers."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tsa_core.testing import ServerProcess, encode_request, on_threads, wait_until

from .trail import records, reports_of, serials, trail

pytestmark = pytest.mark.plugin("memory")

SYSTEM_FAILURE = bytes.fromhex("03050600000040")
CONFIG = """
[profiles.default]
signer = "memory:"
[audit]
sinks = ["auditfile"]
[audit.auditfile]
path = "trail/audit.jsonl"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tsa.toml"
    path.write_text(CONFIG)
    return path


def check(path: Path) -> None:
    assert [report.damage for report in reports_of(trail(path))] == [""] * len(trail(path))


def run_audit(*arguments: str | Path) -> str:
    """Return what `timestamp-server audit` prints when it succeeds."""
    command = [sys.executable, "-m", "tsa_core.cli.server", "audit", *map(str, arguments)]
    environment = {**os.environ, "NO_COLOR": "1"}
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)
    return result.stdout


def test_every_token_that_leaves_is_recorded(config: Path) -> None:
    path = config.parent / "trail" / "audit.jsonl"
    with ServerProcess(config) as server:
        replies = on_threads(lambda _: server.stamp(encode_request(), headers={"X-Request-Id": "mine"}), range(40))
    granted = [reply for reply in replies if SYSTEM_FAILURE not in reply.body]
    assert len(granted) == len(serials(path)) == 40
    for number in serials(path):
        assert any(number.to_bytes(20, "big") in reply.body for reply in granted)
    tokens = [record for record in records(path) if record["type"] == "token"]
    assert {(record["client"], record["request_id"]) for record in tokens} == {("127.0.0.1", "mine")}
    assert records(path)[-1]["type"] == "close"
    check(path)


@pytest.mark.needs(hasattr(resource, "prlimit"), "sets another process's limits as Linux can")
def test_full_disk_withholds_tokens_until_there_is_room(config: Path) -> None:
    """A limit on the size of files fails as a full disk does: what fits is written, then an error."""
    path = config.parent / "trail" / "audit.jsonl"
    with ServerProcess(config) as server:
        pid = server.process.pid
        assert SYSTEM_FAILURE not in server.stamp(encode_request()).body
        limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        whole = path.read_bytes()
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (len(whole) + 100, limits[1]))
        for _ in range(3):
            refused = server.stamp(encode_request())
            assert refused.status == 200
            assert SYSTEM_FAILURE in refused.body
            assert b"audit" not in refused.body
        assert path.read_bytes() == whole
        server.wait_for_log("AuditError: the audit file .*: File too large")
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
        assert SYSTEM_FAILURE not in server.stamp(encode_request()).body
    assert len(serials(path)) == 2
    check(path)


def test_workers_write_one_trail(config: Path) -> None:
    path = config.parent / "trail" / "audit.jsonl"
    with ServerProcess(config, "--workers", "2") as server:
        on_threads(lambda _: server.stamp(encode_request()), range(60))
    assert len(serials(path)) == len(set(serials(path))) == 60
    assert len({record["pid"] for record in records(path) if record["type"] == "open"}) == 2
    check(path)


def test_commands_check_and_show_the_trail(config: Path) -> None:
    path = config.parent / "trail" / "audit.jsonl"
    with ServerProcess(config) as server:
        server.stamp(encode_request())
    for command, expected in (("verify", "intact: 6 lines, 1 tokens"), ("show", "\ttoken\t")):
        assert expected in run_audit(command, path)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_trail_that_was_cut_closes_the_gate_until_it_is_accepted(config: Path, workers: str) -> None:
    path = config.parent / "trail" / "audit.jsonl"
    config.write_text(CONFIG + "[metrics]\nport = 0\n")
    with ServerProcess(config, "--workers", workers) as server:
        on_threads(lambda _: server.stamp(encode_request()), range(8))
        assert server.get("/readyz").status == 200
        os.truncate(path, path.stat().st_size - 200)

        def refused(_: object = None) -> bool:
            return SYSTEM_FAILURE in server.stamp(encode_request()).body

        # The process whose last line is still there does not see it by itself, but hears of it within a second.
        wait_until(lambda: all(refused() for _ in range(8)), seconds=60, what="no process issues tokens")
        server.wait_for_log("No token leaves until an operator")

        def red() -> bool:
            # Perhaps all that was asked above went to one process, and this goes to the other, which has not heard yet.
            ready = server.get("/readyz")
            return ready.status == 503 and b'"name": "audit:auditfile", "healthy": false' in ready.body

        wait_until(red, seconds=60, what="the server is not ready")
        assert server.get("/healthz").status == 200
        assert "accepted: " in run_audit("accept", "--reason", "a drill", path)
        wait_until(lambda: not any(refused() for _ in range(8)), seconds=60, what="all processes issue tokens")
        wait_until(lambda: server.get("/readyz").status == 200, seconds=60, what="the server is ready again")
    assert any("audit.accepted" in line for line in path.read_text().splitlines())


def test_the_log_is_not_written_into_the_trail_when_stderr_is_closed(config: Path) -> None:
    path = config.parent / "trail" / "audit.jsonl"
    command = [sys.executable, "-m", "tsa_core.cli.server", "serve", "--port", "0", "--config", str(config)]
    server = subprocess.Popen(
        ["/bin/sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh", *command, "--metrics=false"], start_new_session=True
    )
    try:
        wait_until(
            lambda: path.exists() and b'"type":"open"' in path.read_bytes(), seconds=120, what="the server writes"
        )
    finally:
        server.terminate()
        assert server.wait(120) in {0, -15}
    check(path)


def test_file_that_cannot_be_continued_stops_the_server_with_one_line(config: Path) -> None:
    (config.parent / "trail").mkdir()
    (config.parent / "trail" / "audit.jsonl").write_text("something else\n")
    result = subprocess.run(
        [sys.executable, "-m", "tsa_core.cli.server", "serve", "--port", "0", "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    [line] = [line for line in result.stderr.splitlines() if "error:" in line]
    assert "audit.auditfile.path" in line
