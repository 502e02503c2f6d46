"""The pid file and what stands beside it, where they cannot be written."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tsa_core.api import ConfigError, UnavailableError
from tsa_core.hosting.pid_file import PidFile, last_report, running_server


def test_place_where_no_report_can_be_written_is_one_line_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "tsa.pid.reload").mkdir()
    with pytest.raises(
        ConfigError, match=r"^server\.pid_file: .*tsa\.pid or a file beside it cannot be written: Is a dir"
    ):
        PidFile(tmp_path / "tsa.pid")


def test_report_that_cannot_be_written_does_not_undo_the_reload(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = PidFile(tmp_path / "tsa.pid")
    try:
        (tmp_path / "tsa.pid.reload").unlink()
        (tmp_path / "tsa.pid.reload").mkdir()
        file.report(succeeded=True, message="reloaded", began=0.0)
        assert "nobody can be told what became of the reload" in caplog.text
        (tmp_path / "tsa.pid.reload").rmdir()
        file.report(succeeded=True, message="again", began=0.0)
        report = last_report(tmp_path / "tsa.pid")
        assert report is not None
        assert (report.number, report.message) == (2, "again")
    finally:
        file.close()


@pytest.mark.parametrize("content", ["", "4711\n", None])
def test_pid_file_is_never_written_through_a_link(tmp_path: Path, content: str | None) -> None:
    """Another user may have put it there, and the server may run as root; `content` None: a dangling link."""
    target = tmp_path / "somebody's"
    if content is not None:
        target.write_text(content)
    (tmp_path / "tsa.pid").symlink_to(target)
    with pytest.raises(
        ConfigError, match=r"^server\.pid_file: the pid file .* cannot be written: it is a symbolic link"
    ):
        PidFile(tmp_path / "tsa.pid")
    assert (target.read_text() if target.exists() else None) == content
    with pytest.raises(ConfigError, match=r"the pid file cannot be read: .*symbolic link"):
        running_server(tmp_path / "tsa.pid")


@pytest.mark.parametrize("name", ["tsa.pid.reload", "tsa.pid.reload.new"])
def test_report_is_never_written_through_a_link(tmp_path: Path, name: str) -> None:
    target = tmp_path / "somebody's"
    target.write_text("precious")
    (tmp_path / name).symlink_to(target)
    file = PidFile(tmp_path / "tsa.pid")
    try:
        (tmp_path / name).unlink(missing_ok=True)
        (tmp_path / name).symlink_to(target)
        file.report(succeeded=True, message="reloaded", began=0.0)
        report = last_report(tmp_path / "tsa.pid")
        assert report is not None
        assert report.message == "reloaded"
    finally:
        file.close()
    assert target.read_text() == "precious"


def test_a_link_to_the_directory_is_followed(tmp_path: Path) -> None:
    """/var/run is one."""
    (tmp_path / "run").mkdir()
    (tmp_path / "var-run").symlink_to("run")
    file = PidFile(tmp_path / "var-run" / "tsa.pid")
    try:
        assert (tmp_path / "run" / "tsa.pid").read_text() == f"{os.getpid()}\n"
    finally:
        file.close()


@pytest.mark.parametrize("name", ["tsa.pid", "tsa.pid.reload"])
def test_a_fifo_keeps_nobody_waiting(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    assert last_report(tmp_path / "tsa.pid") is None
    if name == "tsa.pid":
        with pytest.raises(ConfigError, match="cannot be written: it is no regular file"):
            PidFile(tmp_path / "tsa.pid")
        with pytest.raises(ConfigError, match="cannot be read: it is no regular file"):
            running_server(tmp_path / "tsa.pid")


def test_a_full_disk_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another error the start ended with 2, after which systemd does not try again."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(PidFile, "_write_report", full)
        with pytest.raises(UnavailableError, match=r"^server\.pid_file: .* No space left on device; make room there$"):
            PidFile(tmp_path / "tsa.pid")
    PidFile(tmp_path / "tsa.pid").close()
