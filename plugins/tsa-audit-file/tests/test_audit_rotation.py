"""One file follows another, whatever is interrupted, and other processes write to the same ones."""

from __future__ import annotations

import errno
import fcntl
import itertools
import json
import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tsa_audit_file.trail import trail_at
from tsa_core.api import ConfigError
from tsa_core.api.trail import BEGINNING, begin_hash, check_segment, check_trail
from tsa_core.testing import sample_record, wait_until

from .trail import intact, open_sink, opened, records, serials, trail


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def test_size_begins_a_new_file_that_continues_the_chain(path: Path) -> None:
    with opened(path, max_size=2000, daily=False) as sink:
        for number in range(1, 31):
            sink.write(sample_record(number))
    files = trail(path)
    assert len(files) > 3
    assert serials(path) == list(range(1, 31))
    assert all(file.stat().st_size < 2800 for file in files)
    assert [record["seq"] for record in records(path)] == list(range(1, len(records(path)) + 1))
    for old, new in itertools.pairwise(files):
        assert json.loads(old.read_text().splitlines()[-1])["name"] == old.name
        assert json.loads(new.read_text().splitlines()[0])["previous_file"] == old.name
    intact(path)


def test_rotation_goes_on_after_a_restart(path: Path) -> None:
    for number in range(1, 11):
        with opened(path, max_size=1, daily=False) as sink:
            sink.write(sample_record(number))
    assert serials(path) == list(range(1, 11))
    assert len({file.name for file in trail(path)}) == len(trail(path)) > 10
    intact(path)


def test_day_begins_a_new_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    with opened(path) as sink:
        sink.write(sample_record(1))
        monkeypatch.setattr(time, "time", lambda: now + 86_400)
        sink.write(sample_record(2))
        sink.write(sample_record(3))
        assert len(trail(path)) == 2
    with opened(path, daily=False) as sink:
        sink.write(sample_record(4))
    assert len(trail(path)) == 2
    intact(path)


def test_yesterdays_file_is_closed_at_the_next_start(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(path) as sink:
        sink.write(sample_record(1))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 86_400)
    with opened(path) as sink:
        sink.write(sample_record(2))
    assert [len(serials_of(file)) for file in trail(path)] == [1, 1]
    intact(path)


def serials_of(file: Path) -> list[str]:
    return [record["serial"] for line in file.read_text().splitlines() if (record := json.loads(line)).get("serial")]


@pytest.mark.parametrize("step", ["link", "fdatasync", "flock", "rename"])
def test_rotation_that_is_interrupted_is_finished_later(path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Fails at each step; no token leaves unrecorded, and the next attempt finds what is left to do."""
    sink = open_sink(path, sync="never")
    sink.write(sample_record(1))
    sink.close()

    def broken(*_arguments: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        if step == "rename":
            patch.setattr(Path, "rename", broken)
        elif step == "flock":
            # The second lock is the new file's.
            real, calls = fcntl.flock, []

            def flock(fd: int, operation: int) -> None:
                calls.append(fd)
                broken() if len(calls) == 2 else real(fd, operation)

            patch.setattr(fcntl, "flock", flock)
        else:
            patch.setattr(os, step, broken)
        if step == "link":
            # Nothing has been ended: the file grows on, and the rotation is tried again in a minute.
            open_sink(path, sync="never", max_size=1).write(sample_record(2))
        else:
            with pytest.raises(ConfigError, match="Input/output error"):
                open_sink(path, sync="never", max_size=1)
    with opened(path, sync="never", max_size=10_000) as sink:
        sink.write(sample_record(3))
    assert serials(path) == ([1, 2, 3] if step == "link" else [1, 3])
    assert len(trail(path)) == (1 if step == "link" else 2)
    assert [file.name for file in path.parent.iterdir() if file.name.startswith(".")] == []
    intact(path)


def test_file_that_was_moved_away_is_continued_by_a_new_one(path: Path) -> None:
    with opened(path) as sink:
        sink.write(sample_record(1))
        path.rename(path.with_name("audit-000000-moved.jsonl"))

        def goes_on() -> bool:
            sink.write(sample_record(2))
            return path.exists()

        wait_until(goes_on, seconds=30, what="a new file is begun")
    assert serials(path)[0] == 1
    assert set(serials(path)[1:]) == {2}
    assert len(trail(path)) == 2
    intact(path)


def test_file_that_was_moved_is_ended_for_other_processes_too(path: Path) -> None:
    """One process looks, the other does not yet: both must not go on from the same line."""
    first, second = open_sink(path), open_sink(path)
    first.write(sample_record(1))
    second.write(sample_record(2))
    path.rename(path.with_name("audit-000000-moved.jsonl"))
    first._journal._next_look = 0.0
    first.write(sample_record(3))
    second.write(sample_record(4))
    first.close()
    second.close()
    assert serials(path) == [1, 2, 3, 4]
    assert len(trail(path)) == 2
    intact(path)


# -- other processes ------------------------------------------------------------------------------------------------

WRITE_MANY = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tsa_audit_file.options import AuditFileOptions
from tsa_audit_file.sink import open_sink
from tsa_core.testing import sample_record
path, first, count = Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
sink = open_sink(AuditFileOptions(path=path, max_size=20_000, daily=False))
for number in range(first, first + count):
    sink.write(sample_record(number))
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
if "close" in sys.argv:
    sink.close()
"""


def start_writer(path: Path, first: int, count: int, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITE_MANY, str(Path(__file__).parent), str(path), str(first), str(count), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_processes_share_a_file_and_rotate_it(path: Path) -> None:
    writers = [start_writer(path, first, 300, "close") for first in (1, 1001, 2001)]
    for writer in writers:
        assert writer.communicate(timeout=120)[0].count("\n") == 300
        assert writer.returncode == 0
    assert sorted(serials(path)) == [first + number for first in (1, 1001, 2001) for number in range(300)]
    assert len(trail(path)) > 5
    intact(path)


def test_killed_processes_lose_no_record_that_was_acknowledged(path: Path) -> None:
    writers = [start_writer(path, first, 100_000) for first in (1, 1_000_001)]
    acknowledged = []
    for writer in writers:
        assert writer.stdout is not None
        acknowledged += [int(writer.stdout.readline()) for _ in range(150)]
    for writer in writers:
        writer.kill()
        assert writer.stdout is not None
        acknowledged += [int(line) for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        writer.stdout.close()
        writer.wait()
    with opened(path) as sink:
        sink.write(sample_record(2_000_001))
    assert {*acknowledged, 2_000_001} <= set(serials(path))
    assert len(serials(path)) == len(set(serials(path)))
    intact(path)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_process_takes_a_lock_of_its_own(path: Path) -> None:
    """gunicorn --preload opens the sink before it forks."""
    sink = open_sink(path, sync="interval", sync_interval=0)
    sink.write(sample_record(1))
    children = []
    for child in range(3):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                for number in range(100):
                    sink.write(sample_record(1000 * (child + 1) + number))
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    for number in range(100):
        sink.write(sample_record(10_000 + number))
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
    sink.close()
    assert len(set(serials(path))) == len(serials(path)) == 401
    intact(path)


def test_a_file_that_is_rotated_while_it_is_read_is_read_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with opened(path, max_size=2000, daily=False) as sink:
        for number in range(1, 12):
            sink.write(sample_record(number))
        with closing(trail_at(path, None)) as reader:
            segments = reader.segments()
            before = len(trail(path))
            for number in range(12, 30):
                sink.write(sample_record(number))
            assert len(trail(path)) > before
            last = BEGINNING
            for segment in segments:
                assert segment.start == last
                report = check_segment(segment, begin_hash(None))
                assert not report.damage
                last = report.last
            assert check_trail(reader).intact
