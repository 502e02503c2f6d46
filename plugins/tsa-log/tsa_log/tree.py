"""The tree as it grows: its right edge in memory, everything else in tiles that are written once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tsa_core.api import TsaError
from tsa_core.api.transparency import (
    TILE_WIDTH,
    EncodingError,
    Frontier,
    Tile,
    TileHashes,
    encode_bundle,
    leaf_hash,
    read_bundle,
)
from tsa_log.storage import LogFile, Storage

_TILE_HEIGHT: Final = 8


class DamagedLog(TsaError):
    """The public files are not those of the tree that was signed."""


class GrowingTree:
    """Adds entries, and says what becomes of the tiles and bundles that they fill or begin.

    Memory does not grow with the tree: it holds the last tile of each row, at most eight, and the last bundle.
    """

    def __init__(self, storage: Storage, size: int, root: bytes) -> None:
        """Go on from a tree of `size` leaves; raises DamagedLog unless its files lead to `root`, and OSError."""
        self._storage = storage
        hashes = TileHashes(size, storage.read_tile)
        try:
            self._frontier = Frontier.at(size, hashes)
            if size and self._frontier.root() != root:
                raise EncodingError("they lead to another root")
            self._rows = [self._last_tile(row, size) for row in range(_rows(size))]
            self._entries = self._last_bundle(size)
        except (EncodingError, FileNotFoundError) as error:
            raise DamagedLog(f"the tiles are not those of the tree of {size} entries: {error}") from None

    def _last_tile(self, row: int, size: int) -> list[bytes]:
        count = size >> (_TILE_HEIGHT * row)
        if not (width := count % TILE_WIDTH):
            return []
        data = self._storage.read_tile(Tile(row, count // TILE_WIDTH, width))
        return [data[place * 32 : place * 32 + 32] for place in range(width)]

    def _last_bundle(self, size: int) -> list[bytes]:
        if not (width := size % TILE_WIDTH):
            return []
        return read_bundle(self._storage.read_tile(Tile(-1, size // TILE_WIDTH, width)), width)

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return self._frontier.size

    @property
    def root(self) -> bytes:
        """The root over all leaves."""
        return self._frontier.root()

    def grown(self, entries: Sequence[bytes]) -> tuple[int, bytes]:
        """Return the size and the root that the tree would have with these entries."""
        frontier = Frontier(self._frontier.size, self._frontier.edge)
        for entry in entries:
            frontier.append(leaf_hash(entry))
        return frontier.size, frontier.root()

    def add(self, entries: Sequence[bytes]) -> list[LogFile]:
        """Add entries and return the files that must be written before anybody is shown the new root."""
        files: list[LogFile] = []
        changed: set[int] = set()
        for entry in entries:
            index = self._frontier.size
            self._entries.append(entry)
            for level, position, value in self._frontier.append(leaf_hash(entry)):
                if level % _TILE_HEIGHT == 0:
                    row = level // _TILE_HEIGHT
                    changed.add(row)
                    if full := self._put(row, position, value):
                        files.append(full)
            if len(self._entries) == TILE_WIDTH:
                files.append(LogFile(Tile(-1, index // TILE_WIDTH).path, encode_bundle(self._entries)))
                self._entries.clear()
        if self._entries:
            bundle = Tile(-1, self.size // TILE_WIDTH, len(self._entries))
            files.append(LogFile(bundle.path, encode_bundle(self._entries)))
        for row in sorted(changed):
            if hashes := self._rows[row]:
                tile = Tile(row, (self.size >> (_TILE_HEIGHT * row)) // TILE_WIDTH, len(hashes))
                files.append(LogFile(tile.path, b"".join(hashes)))
        return files

    def _put(self, row: int, position: int, value: bytes) -> LogFile | None:
        """Add a hash to a row; return its last tile when that is full."""
        if row == len(self._rows):
            self._rows.append([])
        hashes = self._rows[row]
        hashes.append(value)
        if len(hashes) < TILE_WIDTH:
            return None
        full = LogFile(Tile(row, position // TILE_WIDTH).path, b"".join(hashes))
        hashes.clear()
        return full


def _rows(size: int) -> int:
    rows = 0
    while size >> (_TILE_HEIGHT * rows):
        rows += 1
    return rows
