"""health(): whether records can be stored is found out without a token, and by no more records than needed."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tsa_audit_file import proof
from tsa_audit_file.tampering import fault_path
from tsa_core.api import AuditError, ConfigError, HealthStatus
from tsa_core.testing import sample_record

from .trail import intact, open_sink, opened, records

WELL = HealthStatus(healthy=True)
FULL = HealthStatus(healthy=False, reason="the audit file cannot be written: No space left on device")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def probes(path: Path) -> list[dict[str, Any]]:
    return [record for record in records(path) if record["type"] == "probe"]


class Disk:
    """os.write onto a disk with so much room left, and what statvfs says of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = 1_000_000
        self.told: int | None = None
        self._write = os.write
        monkeypatch.setattr(os, "write", self.write)
        monkeypatch.setattr(proof, "room_in", self.room_in)

    def room_in(self, _folder: Path) -> int:
        return self.room if self.told is None else self.told

    def write(self, fd: int, data: bytes) -> int:
        if len(data) > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= len(data)
        return self._write(fd, data)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that lets so many seconds pass for what decides when to probe."""
    passed = [0.0]
    monkeypatch.setattr(proof, "monotonic", lambda: monotonic() + passed[0])

    def wait(seconds: float) -> None:
        passed[0] += seconds

    return wait


@pytest.mark.parametrize("left_in_the_last_block", [0, 1, 4_000])
def test_a_full_disk_is_seen_without_a_token_and_so_is_its_end(
    path: Path, disk: Disk, left_in_the_last_block: int
) -> None:
    with opened(path, probe_interval="none") as sink:
        assert sink.health() == WELL
        disk.room, disk.told = left_in_the_last_block, 0
        assert sink.health() == sink.health() == FULL
        assert not probes(path)
        disk.room = disk.told = 1_000_000
        assert sink.health() == sink.health() == WELL
        assert len(probes(path)) == 1
    intact(path)


def test_tokens_that_fit_into_the_last_block_leave_and_it_is_red_again_after_them(path: Path, disk: Disk) -> None:
    with opened(path) as sink:
        disk.room, disk.told = 2_000, 0
        assert sink.health() == FULL
        sink.write(sample_record(1))
        assert sink.health() == FULL


@pytest.mark.parametrize("size", [400, 5_000])
def test_after_a_failure_a_probe_needs_as_much_room_as_what_failed(path: Path, disk: Disk, size: int) -> None:
    with opened(path, tokens=True) as sink:
        record = sample_record(1)
        record.response = bytes(size)
        disk.room = 350
        with pytest.raises(AuditError):
            sink.write(record)
        # A short line would fit, and the token would not.
        assert sink.health() == FULL
        disk.told = 1_000_000  # as a quota does, of which statvfs does not know
        assert sink.health() == FULL
        disk.room = 1_000_000
        assert sink.health() == WELL
        sink.write(record)
        assert len(probes(path)[0]["filler"]) >= size
    intact(path)


def test_nothing_is_probed_while_records_are_stored(path: Path, later: Callable[[float], None]) -> None:
    with opened(path) as sink:
        for number in range(1, 4):
            later(59.0)
            sink.write(sample_record(number))
            assert sink.health() == WELL
        assert not probes(path)
        later(61.0)
        assert sink.health() == sink.health() == WELL
        assert len(probes(path)) == 1
        assert probes(path)[0].keys() == {"seq", "type", "time", "pid", "hash"}
    intact(path)


def test_what_another_process_stores_is_proof_enough(path: Path, later: Callable[[float], None]) -> None:
    with opened(path) as one, opened(path) as other:
        one.health()
        later(59.0)
        other.write(sample_record(1))
        assert one.health() == WELL
        later(59.0)
        assert one.health() == WELL
        assert not probes(path)


def test_a_disk_that_says_it_is_full_and_is_not_is_tried_every_five_minutes(
    path: Path, disk: Disk, later: Callable[[float], None]
) -> None:
    with opened(path, probe_interval="none") as sink:
        disk.told = 0
        for _ in range(10):
            later(60.0)
            assert sink.health() == WELL
        assert len(probes(path)) == 2


def test_without_an_interval_an_idle_sink_is_not_probed(path: Path, later: Callable[[float], None]) -> None:
    with opened(path, probe_interval="none") as sink:
        later(1_000_000.0)
        assert sink.health() == WELL
        assert not probes(path)


def test_a_sync_that_failed_in_the_background_is_red_until_one_has_worked(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with opened(path, sync="interval") as sink:
        sink.write(sample_record(1))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", broken)
            sink._sync_later()
            assert sink.health().reason == "the audit file cannot be written: Input/output error"
        assert sink.health() == WELL
        sink.write(sample_record(2))
    intact(path)


def test_a_lock_that_somebody_holds_does_not_make_it_ill_while_nothing_is_due(path: Path) -> None:
    with opened(path) as sink, path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert sink.health() == WELL
        fcntl.flock(other, fcntl.LOCK_UN)


def test_a_file_system_that_does_not_tell_its_room_is_no_obstacle(
    path: Path, monkeypatch: pytest.MonkeyPatch, disk: Disk
) -> None:
    monkeypatch.setattr(proof, "room_in", lambda _folder: None)
    with opened(path) as sink:
        disk.room = 0
        with pytest.raises(AuditError):
            sink.write(sample_record(1))
        assert sink.health() == FULL
        disk.room = 1_000_000
        assert sink.health() == WELL


def test_room_is_what_this_user_may_use(tmp_path: Path) -> None:
    room = proof.room_in(tmp_path)
    assert room is not None
    assert room > 0
    assert proof.room_in(tmp_path / "missing") is None


def test_a_trail_that_was_tampered_with_is_red(path: Path) -> None:
    sink = open_sink(path)
    sink.write(sample_record(1))
    os.truncate(path, path.stat().st_size - 10)
    assert "nobody has accepted it" in sink.health().reason


@contextmanager
def no_descriptor_free() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_without_a_free_descriptor_no_token_leaves_and_nothing_is_called_tampering(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is looked at once a second cannot be opened then; that says nothing about the trail."""
    monkeypatch.setattr("tsa_audit_file.shared_file._LOOK_SECONDS", 0.0)
    with opened(path) as sink:
        sink.write(sample_record())
        with no_descriptor_free():
            with pytest.raises(AuditError, match="Too many open files"):
                sink.write(sample_record())
            assert sink.health() == HealthStatus(
                healthy=False, reason="the audit file cannot be written: Too many open files"
            )
        assert not fault_path(path).exists()
        sink.write(sample_record())
        assert sink.health() == WELL


def test_a_start_without_a_free_descriptor_says_so(path: Path) -> None:
    open_sink(path).close()
    with no_descriptor_free(), pytest.raises(ConfigError, match="Too many open files"):
        open_sink(path)
    with opened(path) as sink:
        assert sink.health() == WELL
