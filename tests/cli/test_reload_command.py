"""timestamp-server reload finds the server and tells what became of it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from time import monotonic

import pytest

from tests.rotation import Identity, TsaDirectory
from tsa_backends.commands import run_command
from tsa_core.cli.reload import report_of_reload
from tsa_core.hosting.pid_file import PidFile

pytestmark = pytest.mark.plugin("file")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command("reload", *arguments, environ={"COLUMNS": "300"})


def test_reload_says_what_became_of_it(tmp_path: Path) -> None:
    tsa = TsaDirectory(tmp_path)
    with tsa.served("waitress") as server:
        tsa.write(Identity())
        good = run("--config", str(tsa.config))
        assert (good.returncode, good.stderr) == (0, "")
        assert good.stdout.startswith("reloaded: profile default: new certificate, until ")
        tsa.write_broken()
        bad = run("--pid-file", str(tsa.pid_file))
        assert (bad.returncode, bad.stdout) == (1, "")
        assert bad.stderr.startswith("reload refused, nothing has changed: ")
        assert len(bad.stderr.splitlines()) == 1
        assert server.get("/api/v1/timestamp/certchain").body == tsa.identity.pem
        asked = run("--pid", str(tsa.report().pid))
        assert asked.returncode == 0
        tsa.wait_for_report(2)


def test_a_stale_pid_file_is_not_believed(tmp_path: Path) -> None:
    """Its number may belong to somebody else by now: here, to this test."""
    stale = tmp_path / "tsa.pid"
    stale.write_text(f"{os.getpid()}\n")
    result = run("--pid-file", str(stale))
    assert result.returncode == 2
    assert "no server that runs holds this pid file" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "which server?"),
        (("--pid-file", "nowhere/tsa.pid"), "the pid file cannot be read"),
        (("--pid", "99999999"), "there is no process 99999999"),
        (("--pid", "9" * 20), "there is no process 99999999"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_broken_configuration_is_refused_before_anybody_is_asked(tmp_path: Path) -> None:
    config = tmp_path / "tsa.toml"
    config.write_text('[profiles.default]\nsinger = "file:key.pem"\n')
    result = run("--config", str(config))
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "profiles.default.singer; did you mean 'signer'?" in result.stderr


def test_a_configuration_without_a_pid_file_says_so(tmp_path: Path) -> None:
    config = tmp_path / "tsa.toml"
    config.write_text('[profiles.default]\nsigner = "file:key.pem"\n')
    result = run("--config", str(config))
    assert result.returncode == 1
    assert "server.pid_file: no pid_file is configured" in result.stderr


def test_the_result_of_a_reload_that_had_begun_before_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has read the files before they were what they are now."""
    path = tmp_path / "tsa.pid"
    pid_file = PidFile(path)
    began = monotonic()

    def the_one_before(_process: int) -> None:
        pid_file.report(succeeded=True, message="the one before", began=began)

    def the_one_asked_for(_seconds: float) -> None:
        pid_file.report(succeeded=False, message="the one asked for", began=monotonic())

    monkeypatch.setattr("tsa_core.hosting.pid_file.running_server", lambda _: os.getpid())
    monkeypatch.setattr("tsa_core.cli.reload._signal", the_one_before)
    monkeypatch.setattr("tsa_core.cli.reload.sleep", the_one_asked_for)
    assert report_of_reload(path, 60).message == "the one asked for"
    pid_file.close()
