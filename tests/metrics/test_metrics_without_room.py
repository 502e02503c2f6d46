"""Metrics that processes share, where their files have no room: counted in memory, said in one line, never an end."""

from __future__ import annotations

import errno
import logging
import os
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from tsa_core.metrics import shared_file
from tsa_core.metrics.shared_file import SharedFile
from tsa_core.testing import ServerProcess, encode_request, wait_until


class Disk:
    """A disk that is full, or not; and a clock."""

    now = 1000.0

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self._pwrite = os.pwrite
        monkeypatch.setattr(os, "pwrite", self.pwrite)
        monkeypatch.setattr(shared_file, "monotonic", lambda: self.now)
        monkeypatch.setattr(shared_file, "ROOM", shared_file.Room())

    def pwrite(self, descriptor: int, data: bytes, position: int) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._pwrite(descriptor, data, position)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shared" / "counter_1.db"


def key(number: int) -> str:
    return mmap_key("tokens", "tokens_total", ["profile"], [f"profile-{number}"], "Tokens" * 10)


def stored(path: Path) -> dict[str, float]:
    """Return what other processes read."""
    found = MmapedDict.read_all_values_from_file(str(path))  # type: ignore[no-untyped-call] # the library has no types
    return {name: value for name, value, _, _ in found}


def enough() -> bool:
    return shared_file.ROOM.enough


def opened(path: Path) -> Iterator[SharedFile]:
    file = SharedFile(str(path))
    yield file
    file.close()


@pytest.fixture
def file(path: Path, disk: Disk) -> Iterator[SharedFile]:
    yield from opened(path)


def test_every_block_is_there_before_it_is_mapped(path: Path, file: SharedFile) -> None:
    """A write into a hole of a mapped file ends the process when the disk is full."""
    for number in range(200):
        file.write_value(key(number), float(number), 0.0)
        status = path.stat()
        assert status.st_blocks * 512 >= status.st_size
    assert stored(path) == {key(number): float(number) for number in range(200)}


def test_a_full_disk_is_one_line_and_counts_stay_in_memory(
    path: Path, file: SharedFile, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    disk.full = True
    with caplog.at_level(logging.INFO):
        for number in (0, 1, 2, 0, 1, 2, 0):
            file.write_value(key(number), 5.0, 0.0)
            assert file.read_value(key(number)) == (5.0, 0.0)
            disk.now += 1
        assert not enough()
        (line,) = caplog.messages
        assert re.match("there is no room for the metrics of a process in .*: No space left on device; it keeps", line)
        assert not path.exists(), "an empty file makes every scrape of other processes fail"
        disk.full = False
        file.write_value(key(0), 6.0, 0.0)
        assert not path.exists(), "it does not try for every value"
        disk.now += 3
        file.write_value(key(1), 7.0, 0.0)
        assert stored(path) == {key(0): 6.0, key(1): 7.0, key(2): 5.0}
        disk.now += 10
    assert enough()
    assert caplog.messages[1:] == [f"there is room for the metrics of this process in {path.parent} again"]


def test_a_disk_that_becomes_full_keeps_what_is_in_the_file_up_to_date(
    path: Path, file: SharedFile, disk: Disk
) -> None:
    file.write_value(key(0), 1.0, 0.0)
    disk.full = True
    for number in range(1, 100):
        file.write_value(key(number), 2.0, 0.0)
    file.write_value(key(0), 3.0, 0.0)
    found = stored(path)
    assert found[key(0)] == 3.0
    assert 1 < len(found) < 100
    assert path.stat().st_blocks * 512 >= path.stat().st_size
    disk.full = False
    disk.now += 3
    file.write_value(key(0), 4.0, 0.0)
    assert stored(path) == {key(0): 4.0, **{key(number): 2.0 for number in range(1, 100)}}


def test_a_directory_that_cannot_be_made_is_no_error(disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    file = SharedFile(str(tmp_path / "file" / "counter_1.db"))
    file.write_value(key(0), 1.0, 0.0)
    assert file.read_value(key(0)) == (1.0, 0.0)
    file.close()


@pytest.mark.plugin("memory")
@pytest.mark.needs(Path("/proc/self/task").exists(), "finds workers through /proc")
def test_workers_serve_where_their_metrics_have_no_room(tmp_path: Path) -> None:
    """The directory is gone, as on a disk that is full or read-only; its name is a file's."""
    (tmp_path / "file").touch()
    environ = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "file" / "shared")}
    flags = ("--port", "0", "--metrics-port", "0", "--workers", "2", "--timestamp-signer", "memory")
    with ServerProcess(None, *flags, environ=environ) as server:
        url = re.search(r"metrics at (http://\S+)", server.log)
        assert url is not None

        def scraped() -> str:
            with urllib.request.urlopen(url[1], timeout=60) as response:
                text: str = response.read().decode()
            return text

        assert server.stamp(encode_request()).status == 200
        assert "timestamp_authority_metrics_shared 0.0" in scraped()
        assert "timestamp_authority_ready 1.0" in scraped()
        server.wait_for_log("there is no room for the metrics of a process in .*: Not a directory; it keeps them")
        (tmp_path / "file").unlink()
        (tmp_path / "file").mkdir()
        wait_until(lambda: "timestamp_authority_metrics_shared 1.0" in scraped(), seconds=60, what="there is room")
        assert 'timestamp_authority_http_requests_total{code="200"' in scraped()
        assert "Traceback" not in server.log
