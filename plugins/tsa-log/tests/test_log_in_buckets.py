"""A log in a bucket: two writers never fork it, and whatever stops one of them, it stays whole."""

from __future__ import annotations

import shutil
import threading
import urllib.error
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tsa_core.api.transparency import SignedCheckpoint, minute_path, read_minute, tile_at
from tsa_core.testing import on_threads
from tsa_log.objects import Changed, ObjectStorage
from tsa_log.sequencer import Sequencer
from tsa_log.storage import Conflict, ServedAs

from .buckets import BucketLog, CrashingBucket, MemoryBucket, Place, writes_of
from .logs import Crash, entries_of, entry, numbered, publish, signed_checkpoint


@pytest.fixture
def log(place: Place, tmp_path: Path) -> Iterator[BucketLog]:
    made = BucketLog(tmp_path / "log", place.open())
    yield made
    made.close()


def test_a_bucket_serves_the_log_as_it_is(place: Place, log: BucketLog) -> None:
    for first, end in [(0, 1), (1, 300), (300, 556), (556, 560)]:
        log.journal.store(numbered(first, end))
        log.run()
        assert place.entries() == numbered(0, end)
    for path in ("tile/0/000", "tile/entries/002.p/48", "tile/1/000.p/2"):
        found = place.headers(path)
        assert found["content-type"] == "application/octet-stream"
        assert "immutable" in found["cache-control"]
    for path in ("checkpoint", "writer.json"):
        assert place.headers(path)["cache-control"] == "public, max-age=1"


def test_of_two_servers_that_begin_a_log_one_does(place: Place, tmp_path: Path) -> None:
    logs = [BucketLog(tmp_path / str(number), place.open()) for number in range(2)]
    for number, log in enumerate(logs):
        log.journal.store([entry(number)])
    barrier = threading.Barrier(2)

    def run(log: BucketLog) -> str:
        barrier.wait(60)
        try:
            log.run()
        except Conflict as error:
            return str(error)
        return ""

    outcomes = on_threads(run, logs)
    assert sorted(map(bool, outcomes)) == [False, True]
    assert "stop one of them" in "".join(outcomes)
    winner = outcomes.index("")
    assert place.writer()["writer"] in outcomes[1 - winner]
    assert place.writer()["host"] in outcomes[1 - winner]
    assert place.entries() == [entry(winner)]
    logs[winner].journal.store([entry(2)])
    logs[winner].run()
    assert place.entries() == [entry(winner), entry(2)]
    for log in logs:
        log.close()


def test_of_two_copies_of_a_directory_one_goes_on(place: Place, log: BucketLog, tmp_path: Path) -> None:
    """A machine that was cloned with its disk: both have the writer's name, and the same tree."""
    log.journal.store(numbered(0, 300))
    log.run()
    shutil.copytree(log.private, tmp_path / "copy" / "private")
    copy = BucketLog(tmp_path / "copy", place.open())
    log.journal.store(numbered(300, 400))
    copy.journal.store(numbered(400, 600))
    both = [(each, each.sequencer()) for each in (log, copy)]  # each has seen the same, before the other goes on
    barrier = threading.Barrier(2)

    def run(pair: tuple[BucketLog, Sequencer]) -> str:
        barrier.wait(60)
        try:
            publish(pair[0].private, pair[0].storage, pair[1])
        except Conflict as error:
            return str(error)
        return ""

    outcomes = on_threads(run, both)
    assert sorted(map(bool, outcomes)) == [False, True]
    assert "two servers have copies of it" in "".join(outcomes)
    mine = numbered(300, 400) if outcomes[0] == "" else numbered(400, 600)
    assert place.entries() == [*numbered(0, 300), *mine]
    winner, loser = both if outcomes[0] == "" else both[::-1]
    for _ in range(2):  # and it stays so
        with pytest.raises(Conflict, match="two servers have copies"):
            loser[0].run()
    winner[0].journal.store([entry(700)])
    winner[0].run()
    assert place.entries() == [*numbered(0, 300), *mine, entry(700)]
    copy.close()


def test_an_old_backup_of_the_directory_does_not_go_on(place: Place, log: BucketLog, tmp_path: Path) -> None:
    log.journal.store(numbered(0, 10))
    log.run()
    shutil.copytree(log.private, tmp_path / "backup" / "private")
    log.journal.store(numbered(10, 20))
    log.run()
    restored = BucketLog(tmp_path / "backup", place.open())
    with pytest.raises(Conflict, match="restored from a backup"):
        restored.sequencer()
    assert place.entries() == numbered(0, 20)
    restored.close()


def test_a_log_that_was_copied_into_a_bucket_goes_on(place: Place, log: BucketLog, tmp_path: Path) -> None:
    log.journal.store(numbered(0, 300))
    log.run()
    other = place.other()
    target = other.open()
    bundles = ["tile/entries/000", "tile/entries/001.p/44", "tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1"]
    for path in bundles:
        target.write(path, place.fetch(path))
    target.update("checkpoint", lambda _: place.fetch("checkpoint"))
    log.storage.close()
    log.storage = target
    log.journal.store(numbered(300, 310))
    log.run()
    assert other.entries() == numbered(0, 310)


def test_a_log_does_not_begin_where_there_is_one(place: Place, log: BucketLog, tmp_path: Path) -> None:
    log.journal.store(numbered(0, 3))
    log.run()
    log.storage.delete("writer.json")
    fresh = BucketLog(tmp_path / "fresh", place.open())
    with pytest.raises(Conflict, match=r"there is a log in .*log take-over"):
        fresh.sequencer()
    fresh.close()
    log.storage.close()
    log.storage = place.open()
    log.run()
    assert place.entries() == numbered(0, 3)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_crash_at_any_write_leaves_a_log_that_goes_on(tmp_path: Path, *, after: bool) -> None:
    """Claim, bundles, tiles, history, checkpoint; more entries come before it goes on."""
    left, crashed = 1, 0
    while crashed == left - 1:
        bucket = MemoryBucket()
        log = BucketLog(tmp_path / str(left), ObjectStorage(bucket, seconds=60))
        log.journal.store(numbered(0, 20))
        log.run()
        log.journal.store(numbered(20, 300))
        log.storage = ObjectStorage(CrashingBucket(bucket, left, after=after), seconds=60)
        try:
            log.run()
        except Crash:
            crashed += 1
            assert entries_of(bucket.fetch) in (numbered(0, 20), numbered(0, 300))
        log.storage = ObjectStorage(bucket, seconds=60)
        log.journal.store([entry(300)])
        log.run()
        assert entries_of(bucket.fetch) == numbered(0, 301)
        log.close()
        left += 1
    assert crashed >= 10


def delete_partial_tiles(bucket: MemoryBucket) -> int:
    """Do what the README lets an operator do; return how many objects that removed."""
    size, removed = signed_checkpoint(bucket.fetch("checkpoint")).checkpoint.size, 0
    for path in bucket.paths():
        if not path.startswith("tile/") or (tile := tile_at(path)) == tile.whole:
            continue
        if size >= (tile.index + 1) * 256 ** (max(tile.level, 0) + 1):
            bucket.delete(path)
            removed += 1
    return removed


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_partial_tiles_that_an_operator_deletes_are_missed_by_nobody(tmp_path: Path, *, after: bool) -> None:
    """While it runs, also after a crash at any write, when a full tile may be there that no checkpoint covers yet."""
    left, crashed = 1, 0
    while crashed == left - 1:
        bucket = MemoryBucket()
        log = BucketLog(tmp_path / str(left), ObjectStorage(bucket, seconds=60))
        for first, end in [(0, 20), (20, 250), (250, 300), (300, 510)]:
            log.journal.store(numbered(first, end))
            log.run()
        assert delete_partial_tiles(bucket) == 4  # of 20 and of 250 entries: tiles and bundles
        log.journal.store(numbered(510, 600))
        log.storage = ObjectStorage(CrashingBucket(bucket, left, after=after), seconds=60)
        try:
            log.run()
        except Crash:
            crashed += 1
            delete_partial_tiles(bucket)
            assert entries_of(bucket.fetch) in (numbered(0, 510), numbered(0, 600))
        log.storage = ObjectStorage(bucket, seconds=60)
        log.run()
        assert entries_of(bucket.fetch) == numbered(0, 600)
        delete_partial_tiles(bucket)
        log.journal.store([entry(600)])
        log.run()
        assert entries_of(bucket.fetch) == numbered(0, 601)
        log.close()
        left += 1
    assert crashed >= 10


def test_a_lost_answer_is_made_good_by_looking(place: Place, log: BucketLog) -> None:
    """The store has done what it was asked for, and its answer never came: nothing is done twice, or refused."""
    names = ["writer.json", "tile/entries/", "tile/0/", "checkpoints/", "checkpoint"]
    for number, name in enumerate(names):
        place.relay.lose_answers(matches=writes_of(name))
        log.journal.store([entry(number)])
        log.run()
        place.relay.mend()
        assert place.entries() == numbered(0, number + 1)
    times = datetime.now(UTC), datetime.now(UTC) - timedelta(minutes=1)
    kept = [each.checkpoint.size for time in times for each in history(place, time)]
    assert sorted(kept) == list(range(1, len(names) + 1))


def history(place: Place, moment: datetime) -> list[SignedCheckpoint]:
    """Return the checkpoints of a minute."""
    try:
        return read_minute(place.fetch(minute_path(moment)))
    except urllib.error.HTTPError:
        return []


class HeedlessBucket(CrashingBucket):
    """A store that takes conditions for none, as some that have S3's interface do."""

    def put(self, path: str, data: bytes, served: ServedAs, tag: str | None) -> str:
        while True:
            found = self.get(path)
            with suppress(Changed):
                return super().put(path, data, served, found.tag if found else None)


def test_a_store_without_conditional_writes_is_refused(place: Place, log: BucketLog) -> None:
    heedless = ObjectStorage(HeedlessBucket(place.open_bucket(), 1 << 30, after=False), seconds=60)
    log.storage.close()
    log.storage = heedless
    with pytest.raises(Conflict, match="does not heed If-None-Match"):
        log.run()
    assert place.entries() == []


def test_requests_are_few(place: Place, log: BucketLog) -> None:
    """What a step of a thousand entries asks of the store, once the log runs."""
    log.journal.store(numbered(0, 1000))
    sequencer = log.sequencer()
    publish(log.private, log.storage, sequencer)
    before = log.storage.requests
    log.journal.store(numbered(1000, 2000))
    publish(log.private, log.storage, sequencer)
    # 4 bundles, 4 tiles, one of each that is not full, the row above; claim, history and checkpoint, each read
    # once at most after the start of a minute.
    assert log.storage.requests - before <= 18
