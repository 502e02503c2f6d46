"""What a log of tokens costs apart from requests: integration at any size, and how many files a proof needs.

    python -m bench.token_log [--quick]

The large trees are synthetic: their tiles are made up where they are read, which is at the edge alone, so that a tree
of a hundred million entries takes no disk. Everything that is added to them is written and synced as in a server.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

from bench.report import Row, print_rows, progress
from tsa_core.api.transparency import (
    Frontier,
    TileHashes,
    encode_bundle,
    inclusion_path,
    tile_at,
)
from tsa_log.storage import LocalStorage
from tsa_log.tree import GrowingTree

_BATCH = 1_000
"""The entries of a second, at a thousand a second."""
_ENTRY = bytes(106)


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


def run(*, quick: bool) -> list[Row]:
    """Measure and return the table's rows."""
    sizes = (0, 1_000_000) if quick else (0, 1_000_000, 100_000_000, 10_000_000_000)
    with tempfile.TemporaryDirectory() as folder:
        return [_row(size, Path(folder), steps=5 if quick else 30) for size in sizes]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few seconds, to see that it works")
    print_rows(run(quick=parser.parse_args().quick))


if __name__ == "__main__":
    main()
