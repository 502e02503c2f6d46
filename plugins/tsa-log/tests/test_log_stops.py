"""Time that goes back closes the gate, in all processes, until an operator lets the log go on."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from tsa_core.api import AuditError, AuditRecord, UnavailableError
from tsa_core.testing import sample_record, wait_until
from tsa_log.command import log as log_command
from tsa_log.sink import LogSink, open_sink
from tsa_log.state import StateFiles

from .logs import ORIGIN, options


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[LogSink]:
    opened = open_sink(options(tmp_path))
    yield opened
    opened.close()


def record(number: int, *, earlier: timedelta = timedelta()) -> AuditRecord:
    made = sample_record(number)
    return replace(made, gen_time=made.gen_time - earlier)


def run(*arguments: str) -> str:
    outcome = CliRunner().invoke(log_command, list(arguments))
    return f"{outcome.exit_code} {outcome.output}{outcome.exception or ''}"


def test_a_clock_that_goes_back_stops_the_log_until_it_is_accepted(sink: LogSink, tmp_path: Path) -> None:
    place = ("--origin", ORIGIN, "--directory", str(tmp_path))
    other = open_sink(options(tmp_path))
    sink.write(record(1))
    with pytest.raises(AuditError, match=r"3600\.000 s older"):
        sink.write(record(2, earlier=timedelta(hours=1)))
    with pytest.raises(AuditError, match="is stopped"):
        sink.write(record(3))
    wait_until(lambda: not other.health().healthy, seconds=60, what="another process knows")
    with pytest.raises(AuditError, match="is stopped"):
        other.write(record(4))
    wait_until(lambda: "is stopped: an entry is 3600.000 s" in run("status", *place), seconds=60, what="it is stopped")

    assert "goes on behind entry" in run("accept", *place, "--reason", "the clock had been an hour ahead")
    assert "the clock had been an hour ahead" in (tmp_path / "private" / "accepted.jsonl").read_text()
    wait_until(lambda: sink.health().healthy and other.health().healthy, seconds=60, what="the gate is open again")
    sink.write(record(5, earlier=timedelta(hours=1)))
    other.write(record(6, earlier=timedelta(hours=1)))
    wait_until(lambda: "3 entries, 3 published" in run("status", *place), seconds=60, what="all is published")
    other.close()


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_stop_that_cannot_be_written_down_reaches_the_others_once_it_can(
    sink: LogSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_sink(options(tmp_path))
    sink.write(record(1))
    with monkeypatch.context() as patched:
        patched.setattr(StateFiles, "ask_to_stop", full)
        with pytest.raises(AuditError, match=r"3600\.000 s older"):
            sink.write(record(2, earlier=timedelta(hours=1)))
        assert "is stopped: an entry is 3600.000 s" in (sink.health().reason or "")
        assert other.health().healthy
    wait_until(lambda: not sink.health().healthy and not other.health().healthy, seconds=60, what="both know")
    with pytest.raises(AuditError, match=r"is stopped: an entry is 3600\.000 s"):
        other.write(record(3))
    other.close()


def test_a_log_that_goes_on_cannot_be_accepted(sink: LogSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink.write(record(1))
    place = ("--origin", ORIGIN, "--directory", str(tmp_path))
    wait_until(lambda: "1 entry, 1 published" in run("status", *place), seconds=60, what="it is published")
    monkeypatch.setattr("tsa_log.command._LOCK_SECONDS", 0.2)
    assert "is not stopped" in run("accept", *place, "--reason", "none")


@pytest.mark.parametrize("command", [("status",), ("accept", "--reason", "none")], ids=lambda each: each[0])
def test_what_is_no_log_or_cannot_be_read_is_named(tmp_path: Path, command: tuple[str, ...]) -> None:
    command = (*command, "--origin", ORIGIN, "--directory", str(tmp_path))
    assert "there is no log here" in run(*command)
    assert not list(tmp_path.iterdir())
    (tmp_path / "private" / "state.json").mkdir(parents=True)
    assert "Is a directory; run this as the server's user" in run(*command)


def test_a_little_disorder_is_none(sink: LogSink) -> None:
    sink.write(record(1))
    sink.write(record(2, earlier=timedelta(seconds=9)))
    sink.write(record(3))
    assert sink.health().healthy


def test_a_log_that_nobody_uses_stays_open(tmp_path: Path) -> None:
    """A probe becomes no entry, so that there is nothing to publish; an entry that waits closes the gate."""
    idle = open_sink(options(tmp_path, interval="1h", max_delay="1ms"))
    idle.probe()
    began = time.monotonic()
    while time.monotonic() < began + 0.005:  # for longer than max_delay
        assert idle.health().healthy
    idle.write(record(1))
    wait_until(lambda: not idle.health().healthy, seconds=60, what="the entry waits for longer than max_delay")
    with pytest.raises(AuditError, match="published nothing new"):
        idle.write(record(2))
    idle.close()


def test_a_full_disk_at_the_start_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another error the start ended with 2, after which systemd does not try again."""
    monkeypatch.setattr(os, "fdatasync", full)
    with pytest.raises(UnavailableError, match="No space left on device; make room there"):
        open_sink(options(tmp_path))
