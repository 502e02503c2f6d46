"""FileWatch: what is a change, and when it is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tsa_core.hosting.reloading import FileWatch


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
