"""What does not fit, and what a crash tore: no line is left that breaks the chain."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import pytest

from tsa_core.api import AuditError, UnavailableError
from tsa_core.testing import on_threads, sample_record

from .trail import intact, open_sink, opened, records, serials


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


class SmallDisk:
    """os.write onto a disk with room for so many bytes, as Linux does it: what fits is written, then ENOSPC."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = 0
        self._write = os.write
        monkeypatch.setattr(os, "write", self.write)

    def write(self, fd: int, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self._write(fd, data[: self.room])
        self.room -= written
        return written


@pytest.mark.parametrize("room", [0, 1, 100, 250])
def test_full_disk_withholds_leaves_no_torn_line_and_recovers(
    path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    sink = open_sink(path)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        SmallDisk(patch).room = room
        with pytest.raises(AuditError, match="No space left on device"):
            sink.write(sample_record(1))
        assert path.read_bytes() == before
    sink.write(sample_record(2))
    sink.close()
    assert serials(path) == [2]
    intact(path)


def test_batch_that_does_not_fit_is_withheld_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = open_sink(path)
    with monkeypatch.context() as patch:
        SmallDisk(patch).room = 10_000

        def write(number: int) -> bool:
            try:
                sink.write(sample_record(number))
            except AuditError:
                return False
            return True

        stored = on_threads(write, range(1, 101))
    assert serials(path).__len__() == sum(stored) < 100
    assert sorted(serials(path)) == [number for number, is_in in zip(range(1, 101), stored, strict=True) if is_in]
    sink.close()
    intact(path)


def test_line_that_could_not_be_taken_back_is_mended(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sink = open_sink(path)
    with monkeypatch.context() as patch:
        SmallDisk(patch).room = 77

        def broken(fd: int, length: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        patch.setattr(os, "ftruncate", broken)
        with pytest.raises(AuditError):
            sink.write(sample_record(1))
        assert not path.read_bytes().endswith(b"\n")
    with caplog.at_level(logging.WARNING):
        sink.write(sample_record(2))
    assert "torn line of 77 bytes" in caplog.text
    sink.close()
    assert [record["type"] for record in records(path)] == ["file", "open", "event", "token", "close"]
    assert records(path)[2]["details"] == {"bytes": "77"}
    intact(path)


@pytest.mark.parametrize("cut", [1, 50, 200])
def test_torn_line_of_a_crash_is_mended_at_the_next_start(path: Path, cut: int) -> None:
    open_sink(path).write(sample_record(1))  # never closed, as in a crash
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[-1][:cut])
    with opened(path) as sink:
        sink.write(sample_record(2))
    assert serials(path) == [1, 2]
    assert records(path)[3]["kind"] == "audit.mended"
    intact(path)


def test_torn_first_line_begins_anew(path: Path) -> None:
    path.write_bytes(b'{"seq":1,"type":"fi')
    with opened(path) as sink:
        sink.write(sample_record(1))
    assert serials(path) == [1]
    intact(path)


def test_a_full_disk_at_the_start_passes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another error the start ended with 2, after which systemd does not try again."""
    with monkeypatch.context() as patch:
        SmallDisk(patch)
        with pytest.raises(UnavailableError, match="No space left on device; make room there"):
            open_sink(path)
    open_sink(path).close()
    intact(path)
