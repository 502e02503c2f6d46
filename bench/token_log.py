"""What a log of tokens costs apart from requests: integration at any size, and how many files a proof needs.

    python -m bench.token_log [--quick] [--storage s3://BUCKET/PREFIX [--endpoint URL]]

The large trees are synthetic: their tiles are made up where they are read, which is at the edge alone, so that a tree
of a hundred million entries takes no disk. Everything that is added to them is written and synced as in a server.

The steps of a log in a bucket are made against one that answers after 30 ms, and, with --storage, against a real one at
a prefix of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import tempfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter, process_time, sleep

from bench.report import Row, print_rows, progress
from tsa_core.api.transparency import (
    Frontier,
    NoteSigner,
    SignatureType,
    TileHashes,
    TimestampEntry,
    encode_bundle,
    inclusion_path,
    tile_at,
)
from tsa_log.journal import Journal
from tsa_log.objects import Bucket, Changed, ObjectStorage, Stored
from tsa_log.opening import open_storage
from tsa_log.options import StorageOptions
from tsa_log.publisher import Publisher
from tsa_log.sequencer import Sequencer
from tsa_log.storage import LocalStorage, ServedAs
from tsa_log.take_over_command import storage_options
from tsa_log.tree import GrowingTree

_BATCH = 1_000
"""The entries of a second, at a thousand a second."""
_ENTRY = bytes(106)
_ORIGIN = "log.example/bench"
_ANSWER_SECONDS = 0.03


class SyntheticStorage(LocalStorage):
    """A tree that nobody wrote: each tile below is made from its name; what is written lies above it."""

    def __init__(self, root: Path, size: int) -> None:
        super().__init__(root)
        self.size = size
        self.reads = 0

    def read(self, path: str) -> bytes:
        """Return what was written, else what the name says."""
        self.reads += 1
        try:
            return super().read(path)
        except FileNotFoundError:
            tile = tile_at(path)
        if tile.level < 0:
            return encode_bundle([_ENTRY] * tile.width)
        return b"".join(self._hash(tile.level, tile.index * 256 + place) for place in range(tile.width))

    @staticmethod
    def _hash(level: int, index: int) -> bytes:
        return hashlib.sha256(f"{level} {index}".encode()).digest()


def _row(size: int, folder: Path, *, steps: int) -> Row:
    progress(f"a tree of {size:,} entries")
    storage = SyntheticStorage(folder / str(size), size)
    hashes = TileHashes(size, lambda tile: storage.read(tile.path))
    tree = GrowingTree(storage, size, Frontier.at(size, hashes).root() if size else b"")
    walls, cpus = [], []
    for _ in range(steps):
        entries = [os.urandom(106) for _ in range(_BATCH)]
        began, used = perf_counter(), process_time()
        storage.write_all(tree.add(entries))
        signed = tree.root
        walls.append(perf_counter() - began)
        cpus.append(process_time() - used)
        assert len(signed) == 32
    storage.reads = 0
    inclusion_path(size // 3, tree.size, TileHashes(tree.size, lambda tile: storage.read(tile.path)))
    return Row(
        part="token log",
        name=f"{size:,} entries",
        figures={
            "us per entry": median(cpus) / _BATCH * 1e6,
            "ms per step of 1,000": median(walls) * 1e3,
            "files of a proof": storage.reads,
            "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        },
    )


class SlowBucket(Bucket):
    """A bucket in memory whose every answer takes as long as a region's own store takes."""

    where = "s3://slow/log"
    wrong_tag = "none"

    def __init__(self) -> None:
        self._objects: dict[str, Stored] = {}

    def get(self, path: str) -> Stored | None:
        """Return an object."""
        sleep(_ANSWER_SECONDS)
        return self._objects.get(path)

    def put(self, path: str, data: bytes, _served: ServedAs, tag: str | None) -> str:
        """Store an object on a condition."""
        sleep(_ANSWER_SECONDS)
        known = self._objects.get(path)
        if (None if known is None else known.tag) != tag:
            raise Changed
        new = str(int(known.tag) + 1) if known else "1"
        self._objects[path] = Stored(data, new)
        return new

    def delete(self, path: str) -> None:
        """Remove an object."""
        self._objects.pop(path, None)

    def close(self) -> None:
        """Do nothing."""


def _bucket_row(name: str, storage: ObjectStorage, folder: Path, batch: int, *, steps: int) -> Row:
    """Measure whole steps: claim, bundles, tiles, history, checkpoint; without witnesses."""
    progress(f"{name}, {batch:,} entries in a step")
    private = folder / f"{name}-{batch}".replace("/", "-")
    (private / "pending").mkdir(parents=True)
    journal = Journal(private / "pending")
    key = NoteSigner(_ORIGIN, SignatureType.ED25519, bytes(32))
    with closing(storage), closing(journal):
        sequencer = Sequencer(private, storage, _ORIGIN, timedelta(days=1), [key])
        publisher = Publisher(private, storage, [], threshold=0, seconds=1)
        walls, requests = [], []
        for _ in range(steps):
            now = datetime.now(UTC)
            journal.store([TimestampEntry(*(os.urandom(32),) * 2, now, bytes(32)).encode() for _ in range(batch)])
            began, before = perf_counter(), storage.requests
            sequencer.step()
            signed = sequencer.checkpoint
            assert signed is not None
            publisher.publish(signed, sequencer.state.consumed)
            walls.append(perf_counter() - began)
            requests.append(storage.requests - before)
    return Row(
        part="token log",
        name=f"{name}, {batch:,} a step",
        figures={
            "ms per step": median(walls) * 1e3,
            "requests per step": median(requests),
            "entries/s, without a pause": batch / median(walls),
        },
    )


def run(*, quick: bool, place: StorageOptions | None = None) -> list[Row]:
    """Measure and return the table's rows."""
    sizes = (0, 1_000_000) if quick else (0, 1_000_000, 100_000_000, 10_000_000_000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [_row(size, folder, steps=5 if quick else 30) for size in sizes]
        for batch in (1, 1_000, 10_000):
            steps = 5 if quick else 20
            rows.append(_bucket_row("30 ms", ObjectStorage(SlowBucket(), seconds=60), folder, batch, steps=steps))
            if place is not None and place.storage is not None:
                options = place.model_copy(update={"storage": f"{place.storage}/{os.urandom(4).hex()}"})
                storage = open_storage(options)
                assert isinstance(storage, ObjectStorage)
                rows.append(_bucket_row(place.storage, storage, folder, batch, steps=steps))
        return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few seconds, to see that it works")
    parser.add_argument("--storage", help="s3://BUCKET/PREFIX or gs://BUCKET/PREFIX, of which a new part is used")
    parser.add_argument("--endpoint", help="the store's URL, where it is not the vendor's own")
    arguments = parser.parse_args()
    place = None
    if arguments.storage:
        place = storage_options(Path("/nonexistent"), arguments.storage, arguments.endpoint)
    print_rows(run(quick=arguments.quick, place=place))


if __name__ == "__main__":
    main()
