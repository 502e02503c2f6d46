"""FileWatch: what is a change, and when it is told."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest

from tsa_core.hosting import reloading
from tsa_core.hosting.reloading import FileWatch
from tsa_core.testing import wait_until


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "key.pem"
    path.write_text("one")
    return path


def watching(*files: Path) -> FileWatch:
    watch = FileWatch()
    watch.accept(files)
    return watch


def test_nothing_changed(file: Path) -> None:
    watch = watching(file)
    assert [watch.changed() for _ in range(3)] == [[], [], []]


def test_a_change_is_told_once_when_it_has_settled(file: Path) -> None:
    watch = watching(file)
    file.write_text("two, which is longer")
    assert watch.changed() == []
    assert watch.changed() == [file]
    assert watch.changed() == []


def test_a_file_that_is_still_being_written_waits(file: Path) -> None:
    watch = watching(file)
    for length in range(3):
        file.write_text("x" * (length + 10))
        assert watch.changed() == []
    assert watch.changed() == [file]


def test_another_content_of_the_same_size_and_time_is_a_change(file: Path) -> None:
    watch = watching(file)
    before = file.stat()
    file.write_text("two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert watch.changed() == []
    assert watch.changed() == [file]


def test_a_swapped_link_is_a_change(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key.pem").write_text("same")
        os.utime(tmp_path / name / "key.pem", (1, 1))
    (tmp_path / "data").symlink_to("one")
    (tmp_path / "key.pem").symlink_to("data/key.pem")
    watch = watching(tmp_path / "key.pem")
    (tmp_path / "new").symlink_to("two")
    (tmp_path / "new").replace(tmp_path / "data")
    assert [watch.changed(), watch.changed()] == [[], [tmp_path / "key.pem"]]


def test_a_file_that_vanishes_and_comes_back(file: Path) -> None:
    watch = watching(file)
    file.unlink()
    assert [watch.changed(), watch.changed(), watch.changed()] == [[], [file], []]
    file.write_text("again")
    assert [watch.changed(), watch.changed()] == [[], [file]]


def test_what_changes_while_files_are_read_is_told_afterwards(file: Path, tmp_path: Path) -> None:
    """A reload takes seconds, and may have read what was there before the last change."""
    watch, new = watching(file), tmp_path / "new.pem"
    new.write_text("new")
    were = watch.look()
    file.write_text("changed in the meantime")
    watch.accept([file, new], were)
    assert [watch.changed(), watch.changed(), watch.changed()] == [[], [file], []]


def test_a_file_system_that_hangs_is_told_once_and_its_changes_afterwards(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One look at a time waits for it, and the watch goes on when it answers."""
    answers = threading.Event()
    signature = reloading._signature

    def hanging(path: Path) -> reloading._Signature:
        answers.wait(60)
        return signature(path)

    watch = watching(file)
    monkeypatch.setattr(reloading, "_STAT_SECONDS", 0.05)
    monkeypatch.setattr(reloading, "_signature", hanging)
    with caplog.at_level(logging.INFO):
        file.write_text("two, which is longer")
        assert [watch.changed() for _ in range(3)] == [[], [], []]
        assert sum(thread.name == "file-watch" for thread in threading.enumerate()) == 1
        answers.set()
        monkeypatch.setattr(reloading, "_STAT_SECONDS", 60.0)
        changed: list[Path] = []

        def told() -> bool:
            changed.extend(watch.changed())
            return bool(changed)

        wait_until(told, seconds=20, what="the change is told")
    assert changed == [file]
    assert [record.getMessage().split(";")[0] for record in caplog.records] == [
        "the file system of a watched file hangs",
        "the file system of the watched files answers again",
    ]


def test_what_is_accepted_while_a_file_system_hangs_is_looked_at_again(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload tries anew, because the thread that hangs may do so for ever."""
    gone = threading.Event()
    signature = reloading._signature
    watch = watching(file)
    monkeypatch.setattr(reloading, "_STAT_SECONDS", 0.05)
    monkeypatch.setattr(reloading, "_signature", lambda _path: gone.wait(60))
    try:
        assert watch.changed() == []
        monkeypatch.setattr(reloading, "_STAT_SECONDS", 60.0)
        monkeypatch.setattr(reloading, "_signature", signature)
        assert watch.changed() == []
        watch.accept([file])
        file.write_text("two, which is longer")
        assert [watch.changed(), watch.changed()] == [[], [file]]
    finally:
        gone.set()
