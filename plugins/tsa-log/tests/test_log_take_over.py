"""A log goes on elsewhere when its machine is lost, at whatever write that happened."""

from __future__ import annotations

from pathlib import Path

import pytest

from tsa_core.api import ConfigError
from tsa_core.api.transparency import NoteSigner, SignatureType, VerifierKey, read_entry
from tsa_log.objects import ObjectStorage
from tsa_log.state import StateFiles
from tsa_log.storage import Conflict
from tsa_log.take_over import take_over
from tsa_log.tree import DamagedLog

from .buckets import BucketLog, CrashingBucket, MemoryBucket
from .logs import LOG_KEY, ORIGIN, Crash, entries_of, entry, numbered


def lost_log(folder: Path, bucket: MemoryBucket, left: int) -> bool:
    """Make a log whose machine is lost at a write of its second step; return whether it came to that."""
    log = BucketLog(folder, ObjectStorage(bucket, seconds=60))
    log.journal.store(numbered(0, 20))
    log.run()
    log.journal.store(numbered(20, 300))
    log.storage = ObjectStorage(CrashingBucket(bucket, left, after=True), seconds=60)
    try:
        log.run()
    except Crash:
        return True
    finally:
        log.close()
    return False


def test_it_goes_on_from_what_a_witness_may_have_seen(tmp_path: Path) -> None:
    """A step that is whole in the bucket is kept, published or not; what there is of another one is removed."""
    left, kept = 1, set[int]()
    while True:
        bucket = MemoryBucket()
        crashed = lost_log(tmp_path / f"lost{left}", bucket, left)
        published = entries_of(bucket.fetch)
        storage = ObjectStorage(bucket, seconds=60)
        state = take_over(tmp_path / f"new{left}" / "private", storage, ORIGIN, LOG_KEY.key)
        assert state.newest == read_entry(entry(0)).microseconds
        kept.add(state.size)
        new = BucketLog(tmp_path / f"new{left}", storage)
        new.journal.store(numbered(1000, 1300))
        new.run()
        found = entries_of(bucket.fetch)
        assert found[: len(published)] == published
        assert found == [*numbered(0, state.size), *numbered(1000, 1300)]
        new.close()

        former = BucketLog(tmp_path / f"lost{left}", ObjectStorage(bucket, seconds=60))
        with pytest.raises(Conflict, match="is written by"):
            former.sequencer()
        former.close()
        if not crashed:
            break
        left += 1
    assert kept == {20, 300}


@pytest.fixture
def bucket(tmp_path: Path) -> MemoryBucket:
    """A bucket with a log of 20 entries."""
    made = MemoryBucket()
    lost_log(tmp_path / "lost", made, 1)
    return made


OTHER_KEY = NoteSigner(ORIGIN, SignatureType.ED25519, bytes(32)).key


def refused(bucket: MemoryBucket, folder: Path, *, origin: str = ORIGIN, key: VerifierKey = LOG_KEY.key) -> str:
    with pytest.raises((ConfigError, DamagedLog)) as caught:
        take_over(folder, ObjectStorage(bucket, seconds=60), origin, key)
    return str(caught.value)


def test_what_is_not_the_log_is_not_taken_over(bucket: MemoryBucket, tmp_path: Path) -> None:
    before = bucket.fetch("writer.json")
    assert "has not signed" in refused(bucket, tmp_path / "a", key=OTHER_KEY)
    assert "has not signed" in refused(bucket, tmp_path / "b", origin="log.example/other")
    assert "no server has written a log" in refused(MemoryBucket(), tmp_path / "c")
    assert "has a log of 20 entries already" in refused(bucket, tmp_path / "lost" / "private")
    bucket.delete("tile/0/000.p/20")
    assert "does not continue its checkpoint" in refused(bucket, tmp_path / "d")
    assert bucket.fetch("writer.json") == before
    assert not StateFiles(tmp_path / "d").read(ORIGIN).size


def test_a_writer_that_still_writes_is_noticed(bucket: MemoryBucket, tmp_path: Path) -> None:
    class Racing(ObjectStorage):
        """A bucket to which the former writer writes while its log is looked at."""

        def read(self, path: str) -> bytes:
            found = super().read(path)
            if path == "checkpoint":
                log = BucketLog(tmp_path / "lost", ObjectStorage(bucket, seconds=60))
                log.journal.store([entry(2000)])
                log.run()
                log.close()
            return found

    with pytest.raises(Conflict, match="still writes"):
        take_over(tmp_path / "new", Racing(bucket, seconds=60), ORIGIN, LOG_KEY.key)
    assert len(entries_of(bucket.fetch)) == 301
