"""A real server with the sink: recorded before it leaves, withheld on a full disk, shared by workers."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tsa_audit_file.verification import check_files
from tsa_core.testing import ServerProcess, encode_request, on_threads

from .trail import records, serials, trail

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
    assert [report.damage for report in check_files(trail(path))] == [""] * len(trail(path))


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
        [pid] = [
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdecimal() and str(config).encode() in command_line(entry)
        ]
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


def command_line(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes()
    except OSError:
        return b""


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
    for command, expected in (("verify", "intact: 4 lines, 1 tokens"), ("show", "\ttoken\t")):
        result = subprocess.run(
            [sys.executable, "-m", "tsa_core.cli.server", "audit", command, str(path)],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            env={**os.environ, "NO_COLOR": "1"},
        )
        assert expected in result.stdout


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
