"""What an operator gets wrong is told in one line: where it is, and what to do; never by a traceback."""

from __future__ import annotations

import re
import shlex
import socket
from pathlib import Path

import pytest

from tests.cli.operator_mistakes import MISTAKES, Mistake
from tsa_backends.commands import run_command

pytestmark = pytest.mark.plugin("memory", "file", "ntp", "auditfile", "awskms")

PREFIX = "timestamp-server: error: "
USAGE = ("Usage: timestamp-server", "Try 'timestamp-server")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two authorities that `init` made, and files that are wrong in all ways."""
    folder = tmp_path_factory.mktemp("mistakes")
    for name in ("tsa", "other"):
        assert run_command("init", folder / name, "--org", name).returncode == 0
    certificates = re.findall(
        "-----BEGIN.*?-----END CERTIFICATE-----\n", (folder / "tsa" / "chain.pem").read_text(), re.DOTALL
    )
    (folder / "reversed.pem").write_text("".join(reversed(certificates)))
    (folder / "leaf.pem").write_text(certificates[0])
    (folder / "rootless.pem").write_text("".join(certificates[:-1]))
    (folder / "garbage").write_text("garbage")
    (folder / "garbage").chmod(0o600)
    (folder / "binary").write_bytes(b"\xff\xfe\x00")
    (folder / "huge").write_bytes(bytes((4 << 20) + 1))
    return folder


def complaint(mistake: Mistake, folder: Path) -> str:
    """Type the command, and return the one line that says what is wrong."""
    if mistake.config is not None:
        (folder / "tsa.toml").write_text(mistake.config)
    result = run_command(*shlex.split(mistake.command), cwd=folder, environ=mistake.environ)
    assert result.returncode == mistake.code, result.stderr
    lines = [line for line in result.stderr.splitlines() if line and not line.startswith(USAGE)]
    assert len(lines) == 1, result.stderr
    assert result.stdout == ""
    assert mistake.code == 1 or lines[0].startswith(PREFIX), lines[0]
    return lines[0]


def test_there_are_as_many_as_the_list_that_was_asked_for() -> None:
    assert len(MISTAKES) >= 81


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_that_says_where_and_what_to_do(name: str, folder: Path) -> None:
    mistake = MISTAKES[name]
    line = complaint(mistake, folder)
    assert mistake.place in line
    assert mistake.remedy in line
    for word in ("Traceback", "Input should", "Field required", "pydantic", "NoneType", "Errno", "hunter2"):
        assert word not in line


@pytest.mark.parametrize("flags", ["--port", "--port 0 --metrics-port"])
def test_a_port_that_is_taken_may_be_free_later(flags: str, folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = complaint(Mistake(f"serve {flags} {port}", "", "", code=75), folder)
    assert f"127.0.0.1:{port}" in line
    assert "choose another address with --" in line
