"""A copy of a log that others keep: the same tiles and bundles, made again from its entries, and nothing unproven.

No entry is stored before a proof has shown that the tree with it is the beginning of one that the log signed. So a copy
is of one history, whatever the log shows later.
"""

from __future__ import annotations

from typing import Final

from tsa_core.api.transparency import (
    TILE_WIDTH,
    EncodingError,
    SignedCheckpoint,
    Tile,
    consistency_path,
    is_consistent,
    read_bundle,
)
from tsa_log.remote_log import RemoteLog
from tsa_log.storage import Storage
from tsa_log.tree import GrowingTree

_STEP_ENTRIES: Final = 64 * TILE_WIDTH
_STEP_OCTETS: Final = 8 << 20


class Mirror:
    """Copies what a log adds, a bounded number of entries at a time."""

    def __init__(self, storage: Storage, remote: RemoteLog, size: int, root: bytes) -> None:
        """Go on from `size` entries that were copied before; raises DamagedLog and OSError."""
        self._storage = storage
        self._remote = remote
        self._tree = GrowingTree(storage, size, root)
        self.newest: SignedCheckpoint | None = None
        """The log's newest checkpoint that is consistent with the copy; the copy may not have reached it yet."""

    @property
    def size(self) -> int:
        """How many entries are copied."""
        return self._tree.size

    @property
    def root(self) -> bytes:
        """The root over them."""
        return self._tree.root

    @property
    def complete(self) -> SignedCheckpoint | None:
        """The log's checkpoint of exactly what is copied, None while there is more to copy."""
        newest = self.newest
        return newest if newest is not None and newest.checkpoint.size == self.size else None

    def advance(self) -> list[bytes]:
        """Copy what follows, as much as a step takes, and return it; none when there is nothing new.

        Raises RemoteLogError, also for a log that does not continue what was copied, and OSError, after which this
        object is of no use.
        """
        if (target := self.newest) is None or target.checkpoint.size <= self.size:
            target = self._remote.checkpoint()
            if target.checkpoint.size < self.size:  # an old copy of its checkpoint, from a cache for example
                return []
        entries = self._read(target.checkpoint.size)
        size, root = self._tree.grown(entries)
        checkpoint = target.checkpoint
        try:
            path = consistency_path(size, checkpoint.size, self._remote.hashes(checkpoint.size)) if size else []
        except EncodingError as error:
            raise self._remote.error(f"a tile cannot be read: {error}") from None
        if not is_consistent(size, root, checkpoint.size, checkpoint.root, path):
            self.newest = None
            raise self._remote.error(
                f"its checkpoint of {checkpoint.size} entries does not continue the {self.size} that were copied, or "
                "its entries are not those that it signed"
            )
        self.newest = target
        if entries:
            self._storage.write_all(self._tree.add(entries))
        return entries

    def _read(self, end: int) -> list[bytes]:
        found: list[bytes] = []
        octets = 0
        index, skip = divmod(self.size, TILE_WIDTH)
        while index * TILE_WIDTH < end and len(found) < _STEP_ENTRIES and octets < _STEP_OCTETS:
            new = self._remote.entries(index, end)[skip:]
            found += new
            octets += sum(map(len, new))
            index, skip = index + 1, 0
        return found

    def entry(self, index: int) -> bytes:
        """Return an entry of the copy; raises EncodingError for a damaged file, and OSError."""
        bundle, place = divmod(index, TILE_WIDTH)
        tile = Tile(-1, bundle, min(TILE_WIDTH, self.size - bundle * TILE_WIDTH))
        return read_bundle(self._storage.read_tile(tile), tile.width)[place]
