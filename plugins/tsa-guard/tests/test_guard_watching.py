"""Files that are read again when they change, whatever goes wrong then."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tsa_core.api import ConfigError
from tsa_core.testing import wait_until
from tsa_guard import watched_files
from tsa_guard.watched_files import WatchedFiles


@pytest.mark.parametrize(
    "failure", [ConfigError("too many open files", path="keys"), MemoryError()], ids=["ours", "any other"]
)
def test_a_change_that_could_not_be_read_at_once_is_not_forgotten(
    failure: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A key was revoked while the process had no descriptor left, and nobody changes the file a second time."""
    monkeypatch.setattr(watched_files, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(watched_files, "_RETRY_SECONDS", 0.02)
    path = tmp_path / "keys"
    path.write_text("valid")
    failures: list[Exception] = []

    def read() -> str:
        if failures:
            raise failures.pop()
        return path.read_text()

    with closing(WatchedFiles("the keys", [path], read)) as watched:
        assert watched.value == "valid"
        failures += [failure] * 3
        path.write_text("revoked now")
        wait_until(lambda: watched.value == "revoked now", seconds=20, what="the change is read")
    assert caplog.text.count("the keys stay as they were") == 1
