"""The file: its chain survives crashes, rotation, other processes and full disks."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tsa_core.api import AuditError, AuditEvent, ConfigError, Identity
from tsa_core.testing import on_threads, sample_record

from .trail import intact, open_sink, opened, records, reports_of, serials, trail

KEY = "a key of some length"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def test_lines_say_what_was_issued_and_nothing_that_nobody_asked_for(path: Path) -> None:
    with opened(path) as sink:
        sink.write(sample_record(0x5A))
    first, begun, token, ended = records(path)
    assert (first["type"], begun["type"], ended["type"]) == ("file", "open", "close")
    assert (first["seq"], ended["seq"]) == (1, 4)
    record = sample_record(0x5A)
    assert token.pop("hash")
    assert token == {
        "seq": 3,
        "type": "token",
        "serial": f"{0x5A:040x}",
        "gen_time": record.gen_time.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "profile": record.profile,
        "policy": record.policy,
        "hash_oid": record.hash_oid,
        "request_id": record.request_id,
        "client": record.client_address,
    }


def test_lines_say_who_asked_when_a_guard_knows(path: Path) -> None:
    who = Identity(name='the "first"', tenant="acme", how="api-key")
    with opened(path) as sink:
        sink.write(replace(sample_record(1), identity=who))
        sink.write(replace(sample_record(2), identity=Identity(name="b")))
    tokens = [record for record in records(path) if record["type"] == "token"]
    assert [{name: line.get(name) for name in ("identity", "tenant", "how")} for line in tokens] == [
        {"identity": 'the "first"', "tenant": "acme", "how": "api-key"},
        {"identity": "b", "tenant": None, "how": None},
    ]
    intact(path)


def test_records_that_come_together_are_one_write_and_one_sync(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    write, sync = os.write, os.fdatasync

    def noted_write(fd: int, data: bytes) -> int:
        calls.append("write")
        return write(fd, data)

    def noted_sync(fd: int) -> None:
        calls.append("sync")
        sync(fd)

    with opened(path, sync="always") as sink:
        monkeypatch.setattr(os, "write", noted_write)
        monkeypatch.setattr(os, "fdatasync", noted_sync)
        sink.write_all([sample_record(number) for number in range(1, 33)])
        monkeypatch.undo()
    assert calls == ["write", "sync"]
    assert serials(path) == list(range(1, 33))
    intact(path)


def test_digest_and_token_are_recorded_when_asked(path: Path) -> None:
    with opened(path, digests=True, tokens=True) as sink:
        sink.write(sample_record(1))
    token = records(path)[2]
    assert token["digest"] == sample_record(1).digest.hex()
    assert len(token["response"]) == 4 * -(-len(sample_record(1).response) // 3)


def test_events_are_in_the_chain(path: Path) -> None:
    event = AuditEvent(kind="clock.state", time=datetime(2026, 11, 22, tzinfo=UTC), details={"state": "unsynchronised"})
    with opened(path) as sink:
        sink.event(event)
    assert records(path)[2]["details"] == {"state": "unsynchronised"}
    assert records(path)[2]["time"] == "2026-11-22T00:00:00.000000Z"
    intact(path)


def test_file_is_the_servers_users_alone(path: Path) -> None:
    open_sink(path, max_size=1).write(sample_record())
    assert {stat.S_IMODE(file.stat().st_mode) for file in trail(path)} == {0o600}
    assert len(trail(path)) == 3


def test_strangers_texts_stay_on_their_line(path: Path) -> None:
    evil = 'x","type":"file","hash":"' + "0" * 64 + '"}\n{"seq":9} \x1b[2J\u2028é'
    with opened(path) as sink:
        sink.event(AuditEvent(kind="x", time=datetime.now(UTC), details={"reason": evil}))
    assert records(path)[2]["details"]["reason"] == evil
    assert len(path.read_bytes().splitlines()) == 4
    intact(path)


# -- syncing --------------------------------------------------------------------------------------------------------


def count_syncs(monkeypatch: pytest.MonkeyPatch, before: Callable[[], None] = lambda: None) -> list[int]:
    synced: list[int] = []
    real = os.fdatasync

    def fdatasync(fd: int) -> None:
        before()
        real(fd)
        synced.append(fd)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    return synced


def test_always_syncs_before_write_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = open_sink(path)
    synced = count_syncs(monkeypatch)
    for number in range(1, 6):
        sink.write(sample_record(number))
        assert len(synced) == number
    sink.close()


def test_threads_that_wait_share_a_sync(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = open_sink(path)
    first_syncs, all_wait = threading.Event(), threading.Event()

    def slow_disk() -> None:
        first_syncs.set()
        assert all_wait.wait(30)

    synced = count_syncs(monkeypatch, slow_disk)
    threads = [threading.Thread(target=sink.write, args=(sample_record(number),)) for number in range(1, 41)]
    threads[0].start()
    assert first_syncs.wait(30)
    for thread in threads[1:]:
        thread.start()
    while len(sink._queue) < 39:
        assert all(thread.is_alive() for thread in threads)
    all_wait.set()
    for thread in threads:
        thread.join(30)
    assert sorted(serials(path)) == list(range(1, 41))
    assert len(synced) == 2
    sink.close()
    intact(path)


def test_interval_syncs_soon_and_not_for_each(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    came = threading.Event()
    synced = count_syncs(monkeypatch, came.set)
    sink = open_sink(path, sync="interval", sync_interval="50ms")
    for number in range(1, 101):
        sink.write(sample_record(number))
    assert came.wait(30)
    sink.close()
    assert 1 <= len(synced) < 50


def test_never_leaves_it_to_the_system(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = count_syncs(monkeypatch)
    sink = open_sink(path, sync="never")
    on_threads(lambda number: sink.write(sample_record(number)), range(1, 51))
    assert synced == []
    sink.close()


def test_failed_sync_withholds_all_that_waited_and_a_new_file_begins(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system reports once what it could not write; nothing in that file can be relied upon to be there."""
    sink = open_sink(path)

    def broken(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", broken)
        with pytest.raises(AuditError, match="Input/output error"):
            sink.write(sample_record(1))
        with pytest.raises(AuditError, match="Input/output error"):
            sink.write(sample_record(2))
    sink.write(sample_record(3))
    sink.close()
    assert len(trail(path)) == 2
    assert [json.loads(line)["type"] for line in path.read_text().splitlines()] == ["file", "token", "close"]
    intact(path)


def test_failed_sync_in_the_background_stops_tokens_until_one_works(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sink = open_sink(path, sync="interval", sync_interval="1h")

    def broken(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", broken)
        sink.write(sample_record(1))
        sink._sync_later()  # what the timer calls in an hour
        assert "could not be synced: Input/output error" in caplog.text
        with pytest.raises(AuditError, match="Input/output error"):
            sink.write(sample_record(2))
    sink.write(sample_record(3))
    sink.close()
    assert serials(path) == [1, 3]
    intact(path)


# -- opening --------------------------------------------------------------------------------------------------------


def test_key_makes_a_chain_that_nobody_without_it_can_make(path: Path) -> None:
    with opened(path, key=KEY) as sink:
        sink.write(sample_record(1))
    intact(path, key=KEY.encode())
    assert "hash does not fit" in reports_of([path], key=b"another key, but as long")[0].damage
    with pytest.raises(ConfigError, match="written with a key"):
        reports_of([path])
    with opened(path, key=KEY) as sink:
        sink.write(sample_record(2))
    assert serials(path) == [1, 2]


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        (KEY, None, "was begun with a key"),
        (None, KEY, "was begun without a key"),
        (KEY, "another key, but as long", "the key is another one"),
    ],
)
def test_chain_of_another_key_is_not_continued(path: Path, first: str, then: str, message: str) -> None:
    with opened(path, key=first):
        pass
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=message):
        open_sink(path, key=then)
    assert path.read_bytes() == before


def test_short_key_is_refused(path: Path) -> None:
    with pytest.raises(ConfigError, match="fewer than 16 bytes"):
        open_sink(path, key="short")
    assert not path.exists()


@pytest.mark.parametrize(
    "content",
    [b"something else\n", b"{}\n", b'{"seq":1,"type":"token","hash":"' + b"0" * 64 + b'"}\n', b"\x00" * 4096 + b"\n"],
)
def test_other_files_are_not_touched(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"audit\.auditfile\.path: .*audit file"):
        open_sink(path)
    assert path.read_bytes() == content


def test_tampered_end_is_not_continued(path: Path) -> None:
    with opened(path) as sink:
        sink.write(sample_record(1))
    path.write_bytes(path.read_bytes().replace(b'"type":"close"', b'"type":"clone"'))
    with pytest.raises(ConfigError, match=r"the last line of .* is damaged"):
        open_sink(path)


def test_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="make its directory and give the server's user write access"):
        open_sink(tmp_path / "file" / "audit.jsonl")


def test_closed_sink_refuses(path: Path) -> None:
    sink = open_sink(path)
    sink.close()
    with pytest.raises(AuditError, match="closed"):
        sink.write(sample_record())
