"""`timestamp-server check` changes nothing on the disk, whatever is configured and whatever it finds."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tsa_backends.commands import run_command
from tsa_core.testing import ServerProcess, encode_request

pytestmark = pytest.mark.plugin("memory", "auditfile", "archive")

CONFIG = """
[server]
state_directory = "state"
pid_file = "tsa.pid"
[metrics]
enabled = false
[profiles.default]
signer = "memory:"
[audit]
sinks = ["auditfile"]
[audit.auditfile]
path = "trail/audit.jsonl"
[response]
processors = ["archive"]
[response.archive]
directory = "kept/tokens"
"""


def tree(folder: Path) -> dict[str, Any]:
    """All that a change would show in: names, inodes, modes, sizes, times of changes and contents."""
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        times = status.st_mtime_ns, status.st_ctime_ns
        found[str(path)] = (status.st_ino, status.st_mode, status.st_size, *times, content)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tsa.toml").write_text(CONFIG)
    return tmp_path


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run it; the tree must be as before."""
    before = tree(folder)
    result = run_command("check", "--json", "--config", folder / "tsa.toml")
    assert tree(folder) == before
    assert "Traceback" not in result.stderr
    return result


def serve_once(folder: Path) -> None:
    with ServerProcess(folder / "tsa.toml") as server:
        assert server.stamp(encode_request()).status == 200


def test_before_the_first_start_nothing_is_made(folder: Path) -> None:
    assert check(folder).returncode == 0
    assert [path.name for path in folder.iterdir()] == ["tsa.toml"]


def test_trail_archive_and_state_of_a_server(folder: Path) -> None:
    serve_once(folder)
    assert {"state", "trail", "kept"} <= {path.name for path in folder.iterdir()}
    result = check(folder)
    assert result.returncode == 0
    checks = {each["name"]: each["healthy"] for each in json.loads(result.stdout)["checks"]}
    assert checks["audit:auditfile"] is checks["response:archive"] is True


def test_torn_line_is_left_for_the_server_to_mend(folder: Path) -> None:
    serve_once(folder)
    with (folder / "trail" / "audit.jsonl").open("ab") as trail:
        trail.write(b'{"seq":99,"type":"tok')
    assert check(folder).returncode == 0


def test_trail_that_nobody_has_accepted_is_exit_code_1(folder: Path) -> None:
    """A server would start, and issue nothing."""
    serve_once(folder)
    fault = {"time": "2026-06-01T12:00:00+00:00", "reason": "it became shorter", "expected": "7:00", "accepted": ""}
    (folder / "trail" / "audit.jsonl.tampered").write_text(json.dumps(fault))
    result = check(folder)
    assert result.returncode == 1, result.stderr
    assert "nobody has accepted it" in result.stdout
    assert "a server would start, but not everything is usable now" in result.stderr


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("trail/audit.jsonl", "no audit file, or damaged at its beginning"),
        ("trail", "Not a directory"),
        ("kept", "is no directory"),
        ("state", "is no directory"),
    ],
)
def test_what_keeps_a_server_from_starting_is_exit_code_2(folder: Path, damage: str, said: str) -> None:
    path = folder / damage
    path.parent.mkdir(exist_ok=True)
    path.write_text("something else\n")
    result = check(folder)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert said in line
    assert run_command("serve", "--config", folder / "tsa.toml", "--port", "0").returncode == 2
