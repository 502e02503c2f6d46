"""Entries become a tree, whatever stops the sequencer in between."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from tsa_core.api.transparency import Tile, TileHashes, leaf_hash, read_bundle, tree_root
from tsa_core.testing import on_threads
from tsa_log import sequencer as sequencer_module
from tsa_log.journal import Journal, is_abandoned, read_records
from tsa_log.sequencer import Sequencer, SequencerLock
from tsa_log.sink import LogSink
from tsa_log.state import StateFiles
from tsa_log.storage import LocalStorage
from tsa_log.tree import DamagedLog, GrowingTree

from .logs import DISORDER, LOG_KEY, ORIGIN, Crash, LocalLog, checkpoint, entries, entry, numbered, options


@pytest.fixture
def log(tmp_path: Path) -> Iterator[LocalLog]:
    made = LocalLog(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("sizes", [[1], [255, 1, 1], [256, 256], [700, 1, 300]], ids=str)
def test_every_entry_is_in_the_tree_once_and_in_order(log: LocalLog, sizes: list[int]) -> None:
    stored: list[bytes] = []
    for size in sizes:
        batch = [entry(len(stored) + number) for number in range(size)]
        log.journal.store(batch)
        stored += batch
        log.run()
        assert entries(log.public) == stored
    assert checkpoint(log.public).checkpoint.size == len(stored)


def test_partial_tiles_are_removed_once_the_full_one_is_published(log: LocalLog) -> None:
    log.journal.store(numbered(0, 250))
    log.run()
    former = checkpoint(log.public).checkpoint
    for number in range(250, 260):
        log.journal.store([entry(number)])
        log.run()
    parts = {path.relative_to(log.public).as_posix() for path in log.public.glob("tile/**/*.p/*")}
    assert parts == {
        *(f"tile/{row}/001.p/{width}" for row in ("entries", "0") for width in (1, 2, 3, 4)),
        "tile/1/000.p/1",
    }
    assert entries(log.public) == numbered(0, 260)
    storage = LocalStorage(log.public)
    assert tree_root(250, TileHashes(250, storage.read_tile)) == former.root, "the tree of then is in the full tile"
    assert read_bundle(storage.read_tile(Tile(-1, 0, 250)), 250) == numbered(0, 250)
    with pytest.raises(FileNotFoundError):
        storage.read_tile(Tile(-1, 1, 200))


def test_a_crash_while_partial_tiles_are_removed_leaves_none_for_ever(
    log: LocalLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.journal.store(numbered(0, 250))
    log.run()
    log.journal.store(numbered(250, 256))

    def crash(*_: object) -> None:
        raise Crash

    with monkeypatch.context() as patched:
        patched.setattr(LocalStorage, "drop_parts", crash)
        with pytest.raises(Crash):
            log.run()
    assert list(log.public.glob("tile/0/000.p/*"))
    log.run()
    assert not list(log.public.glob("tile/0/000.p/*"))
    assert entries(log.public) == numbered(0, 256)


def test_a_batch_is_in_the_order_of_gen_time(log: LocalLog) -> None:
    other = Journal(log.private / "pending")
    log.journal.store([entry(1, after=timedelta(seconds=2))])
    other.store([entry(2, after=timedelta(seconds=1))])
    log.run()
    assert entries(log.public) == [entry(2, after=timedelta(seconds=1)), entry(1, after=timedelta(seconds=2))]
    other.close()


def test_more_than_a_step_takes_waits_for_the_next_one(log: LocalLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequencer_module, "MAX_BATCH", 10)
    log.journal.store(numbered(0, 35))
    log.run()
    assert entries(log.public) == numbered(0, 35)


def test_an_entry_that_is_none_is_left_out_and_told(log: LocalLog, caplog: pytest.LogCaptureFixture) -> None:
    log.journal.store([entry(1), b"none", entry(2)])
    log.run()
    assert entries(log.public) == [entry(1), entry(2)]
    assert "is left out: " in caplog.text


def test_journals_of_processes_that_ended_are_removed(log: LocalLog) -> None:
    log.journal.store([entry(1)])
    [path] = (log.private / "pending").iterdir()
    assert not is_abandoned(path)
    log.run()
    assert path.exists()
    log.journal.close()
    assert is_abandoned(path)
    log.run()
    assert not path.exists()
    assert StateFiles(log.private).read_published().size == 1


def _damaged_in_the_middle(journal: bytes) -> bytes:
    return journal.replace(entry(2), bytes(len(entry(2))))


def _damaged_length(journal: bytes) -> bytes:
    at = len(journal) // 3
    return journal[:at] + b"\x7f" + journal[at + 1 :]


def _cut_off(journal: bytes) -> bytes:
    return journal[: len(journal) // 3 + 9]


@pytest.mark.parametrize("damage", [_damaged_in_the_middle, _damaged_length, _cut_off], ids=lambda way: way.__name__)
def test_what_cannot_be_read_of_a_journal_is_kept_and_told(
    log: LocalLog, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """The tokens behind a damaged record have left: their entries are nowhere else."""
    for number in (1, 2, 3):
        log.journal.store([entry(number)])
    log.journal.close()
    [path] = (log.private / "pending").iterdir()
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    log.run()
    assert entries(log.public) == [entry(1)]
    [kept] = (log.private / "pending").iterdir()
    assert (kept.suffix, kept.read_bytes()) == (".unread", damaged)
    assert f"cannot be read, and are kept in {kept.name}" in caplog.text
    log.run()
    assert kept.exists()


class CrashingStorage(LocalStorage):
    """Crashes before the write of a number, or after it."""

    def __init__(self, root: Path, left: int) -> None:
        super().__init__(root)
        self.left = left

    def write(self, path: str, data: bytes) -> None:
        self.left -= 1
        if self.left == 0:
            raise Crash
        super().write(path, data)
        if self.left == -1:
            raise Crash


def test_a_crash_at_any_write_leaves_a_log_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every write of a step: tiles, bundles, state, history, checkpoint; more entries come before it goes on."""
    left, crashed = 1, 0
    while True:
        log = LocalLog(tmp_path / f"crash-{left}")
        log.journal.store(numbered(0, 250))
        log.run()
        before = checkpoint(log.public).checkpoint
        log.journal.store(numbered(250, 600))
        log.storage = CrashingStorage(log.public, left)
        try:
            log.run()
        except Crash:
            crashed += 1
        else:
            break
        assert entries(log.public)[:250] == numbered(0, 250)
        log.journal.store([entry(600)])
        log.storage = LocalStorage(log.public)
        log.run()
        assert entries(log.public) == numbered(0, 601)
        assert checkpoint(log.public).checkpoint.size == 601 > before.size
        log.journal.close()
        left += 1
    assert crashed >= 8
    log.journal.close()


@pytest.mark.parametrize("name", ["state.json", "batch", "published.json"])
def test_a_crash_before_a_file_of_its_own_is_replaced(
    log: LocalLog, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.journal.store(numbered(0, 300))
    log.run()
    log.journal.store(numbered(300, 310))
    replace = Path.replace

    def crashing(self: Path, target: Path) -> Path:
        if Path(target).name == name:
            raise Crash
        return replace(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", crashing)
        with pytest.raises(Crash):
            log.run()
    log.run()
    assert entries(log.public) == numbered(0, 310)


def test_a_full_disk_loses_nothing_and_the_next_step_goes_on(log: LocalLog) -> None:
    class Full(LocalStorage):
        full = True

        def write(self, path: str, data: bytes) -> None:
            if self.full and path.startswith("tile/0"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().write(path, data)

    storage = Full(log.public)
    sequencer = Sequencer(log.private, storage, ORIGIN, DISORDER, [LOG_KEY])
    log.journal.store(numbered(0, 300))
    with pytest.raises(OSError, match="No space"):
        sequencer.step()
    log.journal.store([entry(300)])
    storage.full = False
    while sequencer.state.size < 301:
        sequencer.step()
    log.run()
    assert entries(log.public) == numbered(0, 301)


def test_time_that_goes_back_stops_the_log(log: LocalLog) -> None:
    log.journal.store([entry(1, after=timedelta(hours=1))])
    log.run()
    log.journal.store([entry(2, after=timedelta(hours=1) - DISORDER)])
    assert not log.run().state.stopped
    log.journal.store([entry(3)])
    assert "3600.000 s older" in log.run().state.stopped
    assert len(entries(log.public)) == 2


def test_the_tree_is_not_continued_over_files_that_were_changed(log: LocalLog) -> None:
    log.journal.store(numbered(0, 300))
    log.run()
    tile = log.public / "tile" / "0" / "000"
    data = tile.read_bytes()
    tile.write_bytes(data[:32] + bytes(32) + data[64:])
    state = StateFiles(log.private).read(ORIGIN)
    # The first tile is full; the root is reached through the row above, and the last one.
    GrowingTree(log.storage, state.size, state.root)
    row = log.public / "tile" / "1" / "000.p" / "1"
    row.write_bytes(bytes(32))
    with pytest.raises(DamagedLog, match="another root"):
        log.run()
    row.unlink()
    with pytest.raises(DamagedLog):
        log.run()


def test_a_torn_record_ends_its_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.store([entry(1), entry(2)])
    journal.close()
    [path] = tmp_path.iterdir()
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        found = [each for each, _ in read_records(path, 0, 1 << 20)]
        assert found == [entry(1), entry(2)][: length // (len(whole) // 2)]
    turned = bytearray(whole)
    turned[10] ^= 1
    path.write_bytes(bytes(turned))
    assert not list(read_records(path, 0, 1 << 20))


def test_one_process_is_the_sequencer(tmp_path: Path) -> None:
    first, second = SequencerLock(tmp_path), SequencerLock(tmp_path)
    assert first.take()
    assert not second.take()
    first.give_back()
    assert second.take()
    second.give_back()


def test_requests_that_come_at_once_start_one_sequencer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first ones in a process that was forked. Two would both have the process's lock."""
    both, started, start = threading.Barrier(2), list[str](), threading.Thread.start

    def start_slowly(thread: threading.Thread) -> None:
        if thread.name == "log-sequencer":
            with suppress(threading.BrokenBarrierError):
                both.wait(0.3)
            started.append(thread.name)
        start(thread)

    sink = LogSink(options(tmp_path), [LOG_KEY])
    (tmp_path / "private" / "pending").mkdir(parents=True)
    monkeypatch.setattr(threading.Thread, "start", start_slowly)
    on_threads(lambda _: sink.start(), range(2))
    assert len(started) == 1
    sink.close()


def test_memory_does_not_hold_the_tree(tmp_path: Path) -> None:
    """The edge of a tree that two steps made is that of a tree made at once."""
    storage = LocalStorage(tmp_path)
    tree = GrowingTree(storage, 0, b"")
    storage.write_all(tree.add(numbered(0, 513)))
    again = GrowingTree(storage, tree.size, tree.root)
    again.add([entry(513)])
    whole = GrowingTree(LocalStorage(tmp_path / "whole"), 0, b"")
    whole.add(numbered(0, 514))
    assert again.root == whole.root
    assert leaf_hash(entry(0)) == storage.read("tile/0/000")[:32]


def test_what_a_killed_process_was_writing_is_removed(log: LocalLog) -> None:
    log.journal.store([entry(1)])
    log.run()
    (log.private / ".new-abcdef").write_bytes(b"half a tile")
    os.utime(log.private / ".new-abcdef", (0, 0))
    log.run()
    assert not list(log.folder.rglob(".new-*"))
