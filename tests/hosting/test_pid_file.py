"""The pid file and what stands beside it, where they cannot be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tsa_core.api import ConfigError
from tsa_core.hosting.pid_file import PidFile, last_report


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
        file.report(succeeded=True, message="reloaded")
        assert "nobody can be told what became of the reload" in caplog.text
        (tmp_path / "tsa.pid.reload").rmdir()
        file.report(succeeded=True, message="again")
        report = last_report(tmp_path / "tsa.pid")
        assert report is not None
        assert (report.number, report.message) == (2, "again")
    finally:
        file.close()
