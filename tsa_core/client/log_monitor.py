"""Follows a log: that it only grows, that its entries are those of its tree, and that their times do not go back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from tsa_core.client.log_reader import MAX_DISORDER, LogReader, LogUnusable
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.transparency.checkpoint import SignedCheckpoint
from tsa_core.protocol.transparency.leaf import TimestampEntry, read_entry
from tsa_core.protocol.transparency.merkle import Frontier, consistency_path, is_consistent, leaf_hash
from tsa_core.protocol.transparency.tiles import TILE_WIDTH

AHEAD: Final = timedelta(minutes=1)
"""How far an entry's genTime may be ahead of the monitor's own clock."""

MOST_AT_ONCE: Final = 128 * TILE_WIDTH
"""Entries that one look reads at most: it has one time limit, and the log may have any number."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Where a monitor was: a checkpoint that it has verified, and the latest genTime up to there."""

    size: int = 0
    root: bytes = b""
    newest: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What one look showed: the new entries' number, and what is wrong, a line for each.

    `seen` is where the next look begins. It is before the end of the log while `behind` is true.
    """

    signed: SignedCheckpoint
    seen: Seen
    entries: int
    alarms: tuple[str, ...] = ()

    @property
    def behind(self) -> bool:
        """Whether the log has more entries than this look and those before have read."""
        return self.seen.size < self.signed.checkpoint.size


def look(
    reader: LogReader,
    seen: Seen,
    *,
    now: datetime,
    each: Callable[[int, TimestampEntry], None] | None = None,
    most: int = MOST_AT_ONCE,
) -> Observation:
    """Read what a log has added since `seen`, and check it; `each` is called for every new entry with its index.

    At most `most` entries are read, and shown to be the next ones of the tree that the log has signed (RFC 9162 2.1.4).
    Raises LogUnusable when the log is not the one that was seen before, or its entries are not those that it signed.
    """
    signed = reader.checkpoint()
    checkpoint = signed.checkpoint
    if checkpoint.size < seen.size:
        raise LogUnusable(reader.url, f"it went back: {seen.size} entries were signed before, now {checkpoint.size}")
    hashes = reader.hashes(checkpoint.size)

    def proven(old: int) -> list[bytes]:
        try:
            return consistency_path(old, checkpoint.size, hashes)
        except EncodingError as error:
            raise LogUnusable(reader.url, f"a tile cannot be read: {error}") from None

    try:
        frontier = Frontier.at(seen.size, hashes)
    except EncodingError as error:
        raise LogUnusable(reader.url, f"a tile cannot be read: {error}") from None
    if seen.size and not is_consistent(seen.size, seen.root, checkpoint.size, checkpoint.root, proven(seen.size)):
        raise LogUnusable(
            reader.url, f"it does not continue what it signed before: the first {seen.size} entries are others now"
        )
    newest, alarms = seen.newest, []
    end = min(checkpoint.size, seen.size + most)
    for index, encoded in _new_entries(reader, seen.size, end, checkpoint.size):
        frontier.append(leaf_hash(encoded))
        try:
            entry = read_entry(encoded)
        except EncodingError as error:
            alarms.append(f"entry {index} is none of a timestamp: {error}")
            continue
        if newest is not None and entry.gen_time < newest - MAX_DISORDER:
            back = (newest - entry.gen_time).total_seconds()
            alarms.append(f"entry {index} has a genTime {back:.0f} s before that of an earlier entry")
        if entry.gen_time > now + AHEAD:
            alarms.append(f"entry {index} has a genTime in the future: {entry.gen_time.isoformat()}")
        newest = entry.gen_time if newest is None else max(newest, entry.gen_time)
        if each is not None:
            each(index, entry)
    root = frontier.root()
    if not is_consistent(end, root, checkpoint.size, checkpoint.root, proven(end)):
        raise LogUnusable(reader.url, "its entries are not those of the tree that it signed")
    after = Seen(size=end, root=root, newest=newest)
    return Observation(signed=signed, seen=after, entries=end - seen.size, alarms=tuple(alarms))


def _new_entries(reader: LogReader, start: int, end: int, size: int) -> Iterable[tuple[int, bytes]]:
    for bundle in range(start // TILE_WIDTH, -(-end // TILE_WIDTH)):
        for place, entry in enumerate(reader.bundle(bundle, size)):
            index = bundle * TILE_WIDTH + place
            if start <= index < end:
                yield index, entry
