"""A log's tree as files: tiles of up to 256 hashes, and bundles of up to 256 entries (C2SP tlog-tiles)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.transparency.merkle import HASH_OCTETS, node_hash

TILE_WIDTH: Final = 256
_HEIGHT: Final = 8
_MAX_LEVEL: Final = 63
_MAX_ENTRY_OCTETS: Final = 0xFFFF
_PATH: Final = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile of hashes, or with level -1 a bundle of entries; `width` is 256 unless it is partial."""

    level: int
    index: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """The resource below the log's prefix, `tile/0/x001/234` or `tile/entries/000.p/17`."""
        digits = f"{self.index:03d}"
        digits = digits.rjust(-(-len(digits) // 3) * 3, "0")
        groups = [digits[place : place + 3] for place in range(0, len(digits), 3)]
        name = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        suffix = f".p/{self.width}" if self.width < TILE_WIDTH else ""
        return f"tile/{'entries' if self.level < 0 else self.level}/{name}{suffix}"

    @property
    def whole(self) -> Tile:
        """The full tile of this place."""
        return replace(self, width=TILE_WIDTH)

    def part_of(self, whole: bytes) -> bytes:
        """Return this tile's octets, of those of the full tile: a log may keep only that, once there is one."""
        if self.level >= 0:
            return whole[: self.width * HASH_OCTETS]
        end = 0
        for _ in range(self.width):
            end += 2 + int.from_bytes(whole[end : end + 2], "big")
        return whole[:end]


def tile_at(path: str) -> Tile:
    """Return the tile that a path below the log's prefix names; raises EncodingError for every other path."""
    if found := _PATH.fullmatch(path):
        level, name, width = found.groups()
        tile = Tile(
            -1 if level == "entries" else int(level),
            int(name.replace("x", "").replace("/", "")),
            TILE_WIDTH if width is None else int(width),
        )
        if tile.level <= _MAX_LEVEL and tile.path == path:  # one name each: 000 and x000/000 are not two
            return tile
    raise EncodingError("this is no path of a tile")


def tiles_between(old: int, size: int, *, entries: bool = True) -> Iterator[Tile]:
    """Yield the tiles and bundles of a tree of `size` leaves that one of `old` leaves lacks, bundles first."""
    levels = [-1, *range((max(size - 1, 0).bit_length() + _HEIGHT - 1) // _HEIGHT + 1)]
    for level in levels if entries else levels[1:]:
        shift = _HEIGHT * max(level, 0)
        before, now = old >> shift, size >> shift
        if before == now:
            continue
        for index in range(before // TILE_WIDTH, -(-now // TILE_WIDTH)):
            yield Tile(level, index, min(TILE_WIDTH, now - index * TILE_WIDTH))


def check_tile(tile: Tile, data: bytes) -> bytes:
    """Return a tile's octets; raises EncodingError unless they are as many as its width says."""
    if len(data) != tile.width * HASH_OCTETS:
        raise EncodingError(f"{tile.path} has {len(data)} octets, not {tile.width * HASH_OCTETS}")
    return data


class TileHashes:
    """The complete subtrees of a tree of `size` leaves, read from its tiles when they are asked for.

    `fetch` returns the octets of a tile. Nothing of them is trusted: a proof made from wrong tiles does not verify.
    At most `keep` tiles are remembered.
    """

    def __init__(self, size: int, fetch: Callable[[Tile], bytes], *, keep: int = 64) -> None:
        self.size = size
        self._fetch = fetch
        self._keep = keep
        self._tiles: dict[Tile, bytes] = {}

    def __call__(self, level: int, index: int) -> bytes:
        """Return the hash of the complete subtree `index` of this height; raises ValueError when there is none."""
        if (index + 1) << level > self.size:
            raise ValueError(f"the tree of {self.size} leaves has no complete subtree {index} of height {level}")
        row, above = divmod(level, _HEIGHT)
        # A hash between two rows of tiles is made from the 2**above hashes below it.
        first = index << above
        data = self._tile(row, first // TILE_WIDTH)
        place = first % TILE_WIDTH
        hashes = [
            data[offset * HASH_OCTETS : (offset + 1) * HASH_OCTETS] for offset in range(place, place + (1 << above))
        ]
        while len(hashes) > 1:
            hashes = [node_hash(left, right) for left, right in zip(hashes[::2], hashes[1::2], strict=True)]
        return hashes[0]

    def _tile(self, row: int, index: int) -> bytes:
        there = (self.size >> (_HEIGHT * row)) - index * TILE_WIDTH
        tile = Tile(row, index, min(TILE_WIDTH, there))
        if (data := self._tiles.get(tile)) is None:
            data = check_tile(tile, self._fetch(tile))
            if len(self._tiles) >= self._keep:
                del self._tiles[next(iter(self._tiles))]
            self._tiles[tile] = data
        return data


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """Return entries as a bundle has them, each behind its length in two octets; raises ValueError above 65,535."""
    parts = []
    for entry in entries:
        if len(entry) > _MAX_ENTRY_OCTETS:
            raise ValueError(f"an entry of {len(entry)} octets does not fit into a bundle")
        parts += [len(entry).to_bytes(2, "big"), entry]
    return b"".join(parts)


def read_bundle(data: bytes, width: int = TILE_WIDTH) -> list[bytes]:
    """Return the entries of a bundle; raises EncodingError unless they are `width` and fill it."""
    entries: list[bytes] = []
    offset = 0
    while offset < len(data) and len(entries) <= width:
        length = int.from_bytes(data[offset : offset + 2], "big")
        end = offset + 2 + length
        if end > len(data):
            raise EncodingError("an entry ends behind the end of its bundle")
        entries.append(data[offset + 2 : end])
        offset = end
    if len(entries) != width or offset != len(data):
        raise EncodingError(f"the bundle does not hold {width} entries")
    return entries
