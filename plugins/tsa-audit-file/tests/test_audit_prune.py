"""A prune removes what is old by what its lines say, and vouches for nothing that somebody else has written."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tsa_audit_file.trail import trail_at
from tsa_core.api.trail import BrokenChainError, check_trail
from tsa_core.testing import sample_record

from .trail import intact, opened, trail

KEY = "a key of some length"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A trail of several files, all of today."""
    path = tmp_path / "audit.jsonl"
    with opened(path, key=KEY, max_size=1500, daily=False) as sink:
        for number in range(1, 20):
            sink.write(sample_record(number))
    return path


def prune(path: Path, before: datetime) -> list[str]:
    with closing(trail_at(path, KEY.encode())) as found:
        return list(found.prune(before))


def dated_back(line: bytes) -> bytes:
    return line.replace(f'"time":"{datetime.now(UTC).year}'.encode(), b'"time":"2019')


def as_an_older_one(line: bytes) -> bytes:
    """The last line is a probe of long ago, with the hash that the next file continues."""
    return b'{"seq":%s,"type":"probe","time":"2019-01-01T00:00:00Z"%s' % (line[7 : line.index(b",")], line[-76:])


@pytest.mark.parametrize("change", [dated_back, as_an_older_one], ids=lambda way: way.__name__)
def test_a_file_that_is_only_said_to_be_old_does_not_go(path: Path, change: Callable[[bytes], bytes]) -> None:
    first, *_ = files = trail(path)
    *lines, last = first.read_bytes().splitlines(keepends=True)
    assert b'"type":"end"' in last
    assert change(last) != last
    first.write_bytes(b"".join([*lines, change(last)]))
    with pytest.raises(BrokenChainError, match=r"the last line of .* is damaged, or the key is another one"):
        prune(path, datetime.now(UTC) - timedelta(days=30))
    assert trail(path) == files
    with closing(trail_at(path, KEY.encode())) as found:
        assert not check_trail(found).intact


def test_files_of_before_go(path: Path) -> None:
    files = trail(path)
    intact(path, key=KEY.encode())
    assert prune(path, datetime.now(UTC) - timedelta(days=30)) == []
    assert prune(path, datetime.now(UTC)) == [str(each) for each in files[:-1]]
    with closing(trail_at(path, KEY.encode())) as found:
        assert check_trail(found).intact
