"""A trail that is not as a process left it: no token leaves until an operator has accepted what is there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tsa_audit_file.sink import FileAuditSink
from tsa_audit_file.tampering import fault_path
from tsa_core.api import AuditError
from tsa_core.api.trail import Link, begin_hash, encode, seal
from tsa_core.cli.audit.group import audit
from tsa_core.testing import sample_record

from .trail import intact, open_sink, records, reports_of, serials, trail

KEY = "a key of some length"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(audit, [str(argument) for argument in arguments])


def look(sink: FileAuditSink) -> None:
    """Let a process look around and try again now, as it does once a second."""
    sink._journal._next_look = sink._journal._next_retry = 0.0


def cut(path: Path) -> None:
    os.truncate(path, sum(map(len, path.read_bytes().splitlines(keepends=True)[:-1])))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def unlink(path: Path) -> None:
    path.unlink()


def roll_back(path: Path) -> None:
    """An older copy is put back, by rename as `mv` and rsync do."""
    copy = path.with_name("backup")
    copy.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))
    copy.rename(path)


def roll_back_in_place(path: Path) -> None:
    """An older copy is put back, by overwriting as `cp` does."""
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))


def replace(path: Path) -> None:
    """The file is moved, and one with the trail of somebody else is in its place."""
    path.rename(path.with_name("moved.jsonl"))
    other = open_sink(path.with_name("other.jsonl"))
    for number in range(100, 120):
        other.write(sample_record(number))
    path.with_name("other.jsonl").rename(path)


def forge(path: Path) -> None:
    """Another line of the same length stands in place of the last one."""
    *lines, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines, last[:-10] + b"0000000" + last[-3:]]))


WAYS = [cut, empty, unlink, roll_back, roll_back_in_place, replace, forge]


@pytest.mark.parametrize("key", [None, KEY], ids=["no key", "key"])
@pytest.mark.parametrize("tamper", WAYS, ids=lambda way: way.__name__)
def test_no_token_leaves_until_it_is_accepted(
    path: Path, tamper: Callable[[Path], None], key: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    sink, idle = open_sink(path, key=key), open_sink(path, key=key)
    for number in range(1, 6):
        sink.write(sample_record(number))
    head = sink._journal._known[0]
    tamper(path)
    look(sink)
    for _ in range(3):
        with pytest.raises(AuditError, match="No token leaves until an operator"):
            sink.write(sample_record(6))
    look(idle)
    with pytest.raises(AuditError, match="No token leaves until an operator"):
        idle.write(sample_record(7))
    restarted = open_sink(path, key=key)
    with pytest.raises(AuditError, match="No token leaves until an operator"):
        restarted.write(sample_record(8))
    assert any(record.levelname == "CRITICAL" for record in caplog.records)
    assert json.loads(fault_path(path).read_text())["expected"] == f"{head.seq}:{head.digest}"

    key_file = path.with_name("audit.key")
    key_file.write_text(KEY)
    flags = ["--key-file", key_file] if key else []
    new_file = ["--new-file"] if tamper in (empty, forge) or (key and tamper is replace) else []
    result = run("accept", "--reason", "a drill", *flags, *new_file, path)
    assert result.exit_code == 0, result.output
    assert f"{head.seq}:{head.digest}" in result.stdout
    for process in (sink, idle, restarted):
        look(process)
        process.write(sample_record(9))
        process.close()
    assert set(serials(path)) & {6, 7, 8} == set()
    assert serials(path)[-3:] == [9, 9, 9]
    [event] = [record for record in records(path) if record.get("kind") == "audit.accepted"]
    assert event["details"]["reason"] == "a drill"
    [*_, last] = reports_of([path], key=key.encode() if key else None)
    assert "accepted by an operator" in last.accepted[0]


def forge_one_that_fits(path: Path) -> None:
    """Somebody changes the last line, and computes its hash anew, which takes no key here."""
    *lines, last = path.read_bytes().splitlines(keepends=True)
    member = json.loads(last)
    del member["seq"], member["hash"]
    before = Link(len(lines), json.loads(lines[-1])["hash"])
    forged, _ = seal(encode(member | {"client": "127.0.0.9"}), before, begin_hash(None))
    path.write_bytes(b"".join([*lines, forged.encode()]))


@pytest.mark.parametrize("tamper", [forge, forge_one_that_fits], ids=lambda way: way.__name__)
def test_the_last_line_is_looked_at_before_every_append(path: Path, tamper: Callable[[Path], None]) -> None:
    sink = open_sink(path)
    for number in range(1, 6):
        sink.write(sample_record(number))
    size = path.stat().st_size
    tamper(path)
    assert path.stat().st_size == size
    sink._journal._next_look = float("inf")  # the next append comes before the next look around
    with pytest.raises(AuditError, match="was rewritten"):
        sink.write(sample_record(6))


def test_the_accepted_trail_goes_on_from_what_is_there(path: Path) -> None:
    sink = open_sink(path, max_size=1500, daily=False)
    for number in range(1, 4):
        sink.write(sample_record(number))
    cut(path)
    with pytest.raises(AuditError, match="became shorter"):
        sink.write(sample_record(4))
    assert run("accept", "--reason", "a drill", path).exit_code == 0
    look(sink)
    for number in range(5, 15):
        sink.write(sample_record(number))
    sink.close()
    intact(path)
    assert "accepted" in json.loads(path.read_text().splitlines()[0])


def test_nothing_is_accepted_without_a_fault(path: Path) -> None:
    open_sink(path).close()
    result = run("accept", "--reason", "a drill", path)
    assert result.exit_code == 1
    assert "no server has found a fault" in result.stderr


def test_a_key_is_needed_to_accept(path: Path) -> None:
    sink = open_sink(path, key=KEY)
    sink.write(sample_record(1))
    cut(path)
    with pytest.raises(AuditError):
        sink.write(sample_record(2))
    before = path.read_bytes()
    result = run("accept", "--reason", "a drill", path)
    assert result.exit_code == 1
    assert "--key-file" in result.stderr
    assert path.read_bytes() == before
    look(sink)
    with pytest.raises(AuditError):
        sink.write(sample_record(3))


def test_who_removes_the_note_opens_no_gate(path: Path) -> None:
    sink = open_sink(path)
    sink.write(sample_record(1))
    whole = path.read_bytes()
    cut(path)
    with pytest.raises(AuditError):
        sink.write(sample_record(2))
    fault_path(path).unlink()
    path.write_bytes(whole)
    look(sink)
    with pytest.raises(AuditError):
        sink.write(sample_record(3))
    assert fault_path(path).exists()


def test_an_older_acceptance_is_none(path: Path) -> None:
    """A copy from a time after an acceptance does not pass for the acceptance of its own return."""
    sink = open_sink(path)
    sink.write(sample_record(1))
    cut(path)
    with pytest.raises(AuditError):
        sink.write(sample_record(2))
    assert run("accept", "--reason", "a drill", path).exit_code == 0
    look(sink)
    sink.write(sample_record(3))
    copy = path.read_bytes()
    sink.write(sample_record(4))
    path.write_bytes(copy)
    look(sink)
    with pytest.raises(AuditError):
        sink.write(sample_record(5))


# -- what is no tampering -------------------------------------------------------------------------------------------


def test_rotations_that_a_process_sleeps_through_are_none(path: Path) -> None:
    sink, idle = open_sink(path, max_size=1500, daily=False), open_sink(path, daily=False)
    for number in range(1, 40):
        sink.write(sample_record(number))
    look(idle)
    idle.write(sample_record(40))
    sink.write(sample_record(41))
    sink.close()
    idle.close()
    assert serials(path) == list(range(1, 42))
    intact(path)


@pytest.mark.parametrize("kept", [0, 1])
def test_rotated_files_may_be_taken_away(path: Path, tmp_path: Path, kept: int) -> None:
    sink, idle = open_sink(path, max_size=1500, daily=False), open_sink(path, daily=False)
    for number in range(1, 40):
        sink.write(sample_record(number))
    (tmp_path / "archive").mkdir()
    for file in trail(path)[: -1 - kept]:
        shutil.copy(file, tmp_path / "archive")
        file.unlink()
    look(idle)
    idle.write(sample_record(40))
    sink.write(sample_record(41))
    sink.close()
    idle.close()


def test_a_file_that_is_moved_with_an_empty_one_put_in_its_place_is_continued(path: Path) -> None:
    """logrotate does so with `create`."""
    sink = open_sink(path)
    sink.write(sample_record(1))
    path.rename(path.with_name("audit-000000-moved.jsonl"))
    path.touch(mode=0o600)
    look(sink)
    sink.write(sample_record(2))
    sink.close()
    assert serials(path) == [1, 2]
    intact(path)


def test_many_lines_of_another_process_are_followed(path: Path) -> None:
    idle, sink = open_sink(path), open_sink(path, sync="never")
    sink.write_all([sample_record(number) for number in range(1, 5001)])
    assert path.stat().st_size > 1_048_576
    idle.write(sample_record(5001))
    idle.close()
    sink.close()
    intact(path)
