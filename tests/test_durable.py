"""Files that are replaced at once: what readers see, and what is left after a failure."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tsa_core.durable import clear_scratch, open_regular, replace_file


def test_a_file_has_its_content_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "a"
    replace_file(path, b"one", mode=0o640)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"one", 0o640)
    replace_file(path, [b"t", b"wo"])
    umask = os.umask(0)
    os.umask(umask)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"two", 0o666 & ~umask)
    assert list(tmp_path.iterdir()) == [path]


def test_exclusive_takes_no_files_place(tmp_path: Path) -> None:
    path = tmp_path / "a"
    replace_file(path, b"one", exclusive=True)
    with pytest.raises(FileExistsError):
        replace_file(path, b"two", exclusive=True)
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    replace_file(path, b"one")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(path, b"two")
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_in_the_scratch_folder(tmp_path: Path) -> None:
    scratch, folder = tmp_path / "scratch", tmp_path / "folder"
    scratch.mkdir()
    folder.mkdir()

    class Killed(BaseException):
        pass

    def parts() -> Iterator[bytes]:
        yield b"half"
        assert [path.parent for path in tmp_path.rglob(".new-*")] == [scratch]
        raise Killed

    with pytest.raises(Killed):
        replace_file(folder / "a", parts(), scratch=scratch)
    (scratch / ".new-left").write_bytes(b"half")
    os.utime(scratch / ".new-left", (0, 0))
    (scratch / ".new-now").write_bytes(b"what another process is writing")
    (scratch / "kept").write_bytes(b"whole")
    clear_scratch(scratch)
    assert {path.name for path in scratch.iterdir()} == {"kept", ".new-now"}


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, Path("/dev/zero")):
        with pytest.raises(OSError, match="it is no regular file") as caught:
            open_regular(path)
        assert caught.value.errno == errno.EINVAL
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "missing")
    with os.fdopen(open_regular(tmp_path / "new", os.O_RDWR | os.O_CREAT, 0o600), "w+b") as file:
        file.write(b"a")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600
