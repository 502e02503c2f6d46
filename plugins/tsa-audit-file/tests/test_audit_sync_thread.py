"""The thread that syncs in the background: one for all, and nothing that fails once keeps it from syncing."""

from __future__ import annotations

import logging
import os
import threading
from functools import partial
from pathlib import Path

import pytest
from pydantic import ValidationError

from tsa_audit_file import sync_thread
from tsa_audit_file.options import AuditFileOptions
from tsa_core.testing import sample_record, wait_until

from .trail import intact, open_sink, serials


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads that synced."""
    names: list[str] = []
    sync = os.fdatasync

    def noting(descriptor: int) -> None:
        names.append(threading.current_thread().name)
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", noting)
    return names


@pytest.fixture
def exhausted(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """While the event is set, the thread cannot be started, as at the limit of the user's processes."""
    exhausted, start = threading.Event(), threading.Thread.start

    def start_or_fail(thread: threading.Thread) -> None:
        if exhausted.is_set() and thread.name == "audit-sync":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_or_fail)
    return exhausted


def test_without_a_thread_the_writer_syncs_and_later_the_thread_does(
    tmp_path: Path, synced: list[str], exhausted: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "audit.jsonl"
    exhausted.set()
    with caplog.at_level(logging.INFO, "tsa_audit_file"):
        sink = open_sink(path, sync="interval", sync_interval="20ms")
        for number in (1, 2):
            sink.write(sample_record(number))
        assert "audit-sync" not in synced
        assert len(synced) >= 3, "the opening record and both tokens are on the disk"
        said = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
        assert len(said) == 1
        assert "cannot be started (can't start new thread); until it works, tokens wait for the disk" in said[0]
        exhausted.clear()
        sink.write(sample_record(3))
        wait_until(lambda: "audit-sync" in synced, seconds=10, what="the thread syncs")
        wait_until(lambda: "works again" in caplog.text, seconds=10, what="the log says so")
    sink.close()
    assert serials(path) == [1, 2, 3]
    intact(path)


def test_one_thread_syncs_for_as_long_as_the_sink_lives(tmp_path: Path, synced: list[str]) -> None:
    sink = open_sink(tmp_path / "audit.jsonl", sync="interval", sync_interval="10ms")
    wait_until(lambda: len(synced) == 1, seconds=10, what="the first sync")
    assert sink._syncing is not None
    thread = sink._syncing._thread
    assert thread is not None
    for number in (1, 2, 3):
        sink.write(sample_record(number))
        wait_until(partial(lambda count: len(synced) >= count, number + 1), seconds=10, what="one more sync")
    assert sink._syncing._thread is thread
    assert thread.is_alive()
    sink.close()
    thread.join(10)
    assert not thread.is_alive()


def test_a_late_thread_is_noticed_by_the_next_writer(
    tmp_path: Path, synced: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1000.0
    monkeypatch.setattr(sync_thread, "monotonic", lambda: now)
    sink = open_sink(tmp_path / "audit.jsonl", sync="interval", sync_interval="1h")
    sink.write(sample_record(1))
    assert synced == []
    now += 2 * 3600 + 2
    sink.write(sample_record(2))
    assert len(synced) == 1
    assert "is late" in caplog.text
    sink.close()


@pytest.mark.parametrize("sync", ["always", "never"])
def test_an_interval_that_nothing_waits_for_is_refused(tmp_path: Path, sync: str) -> None:
    with pytest.raises(ValidationError, match='sync_interval has no effect without sync = "interval"'):
        AuditFileOptions.model_validate({"path": tmp_path / "audit.jsonl", "sync": sync, "sync_interval": "5s"})
