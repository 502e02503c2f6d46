"""Reads a tiled log of timestamps from wherever it is served, and makes proofs from it.

Nothing is asked of the server but files. What they hold is checked against a checkpoint that the log signed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography.exceptions import InvalidSignature

from tsa_core.client.deadline import Deadline
from tsa_core.client.errors import ClientError, UnexpectedAnswer
from tsa_core.client.tls import Tls
from tsa_core.client.transport import fetch, without_credentials
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.transparency.checkpoint import SignedCheckpoint, parse_signed_checkpoint
from tsa_core.protocol.transparency.history import MAX_MINUTE_OCTETS, minute_path, read_minute
from tsa_core.protocol.transparency.leaf import TimestampEntry, read_entry
from tsa_core.protocol.transparency.log_proof import LogProof
from tsa_core.protocol.transparency.merkle import HASH_OCTETS, inclusion_path
from tsa_core.protocol.transparency.note import MAX_NOTE_OCTETS, VerifierKey
from tsa_core.protocol.transparency.tiles import TILE_WIDTH, Tile, TileHashes, read_bundle
from tsa_core.verify.errors import printable

MAX_DISORDER: Final = timedelta(minutes=1)
"""How much older than its neighbours an entry is looked for."""
MAX_MINUTES: Final = 15
"""How many minutes after genTime the first checkpoint that covers a token is looked for."""
_MAX_BUNDLE_OCTETS: Final = TILE_WIDTH * (2 + 0xFFFF)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_KEPT: Final = 4
"""Bundles that are remembered."""
_MISSING: Final = frozenset({403, 404, 410})
"""What is answered for a file that is not there: S3 says 403 to whoever may read a bucket, and not list it."""


class LogUnusable(ClientError):
    """The log does not hold what it says, or not what was looked for; the text says which."""


class NotInLog(LogUnusable):
    """The log was read, and does not hold the timestamp."""


class LogReader:
    """A log at a URL prefix, with the keys by which it must have signed what is read of it.

    Within a `with` of a Deadline; raises TransportError for what cannot be fetched, LogUnusable for what is wrong.
    """

    def __init__(self, url: str, keys: Sequence[VerifierKey], *, deadline: Deadline, tls: Tls | None = None) -> None:
        self._url = url.rstrip("/")
        self._keys = keys
        self._deadline = deadline
        self._tls = tls
        self._bundles: dict[tuple[int, int], list[bytes]] = {}

    @property
    def url(self) -> str:
        """The URL prefix for messages, without credentials."""
        return without_credentials(self._url)

    def _fetch(self, path: str, limit: int) -> bytes:
        return fetch(f"{self._url}/{path}", deadline=self._deadline, max_octets=limit, tls=self._tls)

    def _wrong(self, text: str) -> LogUnusable:
        return LogUnusable(self.url, text)

    def _absent(self, text: str) -> NotInLog:
        return NotInLog(self.url, text)

    def checkpoint(self) -> SignedCheckpoint:
        """Return the log's newest checkpoint."""
        try:
            return self._signed(parse_signed_checkpoint(self._fetch("checkpoint", MAX_NOTE_OCTETS)))
        except EncodingError as error:
            raise self._wrong(f"its checkpoint cannot be read: {error}") from None

    def minute(self, moment: datetime) -> list[SignedCheckpoint]:
        """Return the checkpoints that were published in the minute of a moment; none when there are none."""
        try:
            data = self._fetch(minute_path(moment), MAX_MINUTE_OCTETS)
        except UnexpectedAnswer as error:
            if error.status in _MISSING:
                return []
            raise
        try:
            return [self._signed(each) for each in read_minute(data)]
        except EncodingError as error:
            raise self._wrong(f"the checkpoints of {moment:%Y-%m-%d %H:%M} cannot be read: {error}") from None

    def _signed(self, signed: SignedCheckpoint) -> SignedCheckpoint:
        origin = signed.checkpoint.origin
        try:
            if signed.signed_by([key for key in self._keys if key.name == origin]):
                return signed
        except InvalidSignature:
            pass
        raise self._wrong(f"a checkpoint of {printable(origin)} is not signed by the key that was given")

    def tile(self, tile: Tile) -> bytes:
        """Return a tile or bundle; of one that is whole by now, the part that was asked for."""
        limit = _MAX_BUNDLE_OCTETS if tile.level < 0 else TILE_WIDTH * HASH_OCTETS
        try:
            return self._fetch(tile.path, limit)
        except UnexpectedAnswer as error:
            if error.status not in _MISSING or tile.width == TILE_WIDTH:
                raise
        return tile.part_of(self._fetch(tile.whole.path, limit))

    def hashes(self, size: int) -> TileHashes:
        """Return the complete subtrees of the tree of this size."""
        return TileHashes(size, self.tile)

    def bundle(self, index: int, size: int) -> list[bytes]:
        """Return the entries of a bundle in the tree of this size; the last ones are remembered."""
        if (known := self._bundles.get((index, size))) is None:
            known = self._bundles[index, size] = self._read_bundle(index, size)
            if len(self._bundles) > _MAX_KEPT:
                del self._bundles[next(iter(self._bundles))]
        return known

    def _read_bundle(self, index: int, size: int) -> list[bytes]:
        tile = Tile(-1, index, min(TILE_WIDTH, size - index * TILE_WIDTH))
        try:
            return read_bundle(self.tile(tile), tile.width)
        except EncodingError as error:
            raise self._wrong(f"{tile.path} cannot be read: {error}") from None

    # -- proofs -------------------------------------------------------------------------------------------------

    def prove(self, entry: TimestampEntry) -> LogProof:
        """Return the proof that an entry is in the log, with the first checkpoint that covers it.

        When none was published up to MAX_MINUTES after genTime, it is the newest one. Raises NotInLog when the entry is
        not among those of its time.
        """
        newest = self.checkpoint()
        wanted = entry.encode() if entry.gen_time >= _EPOCH else b""
        index = self._find(wanted, entry.gen_time, newest.checkpoint.size)
        if index is None:
            raise self._absent(
                f"the timestamp is not in this log, or not yet: it is not among the entries of "
                f"{entry.gen_time.isoformat()}, of {newest.checkpoint.size} that are published"
            )
        covering = (each for each in self._published_after(entry.gen_time) if each.checkpoint.size > index)
        return self._proof(index, wanted, next(covering, newest))

    def _published_after(self, gen_time: datetime) -> Iterator[SignedCheckpoint]:
        minute = gen_time.astimezone(UTC).replace(second=0, microsecond=0) - MAX_DISORDER
        last = min(minute + timedelta(minutes=MAX_MINUTES + 1), datetime.now(UTC) + MAX_DISORDER)
        while minute <= last:
            yield from self.minute(minute)
            minute += timedelta(minutes=1)

    def _find(self, wanted: bytes, gen_time: datetime, size: int) -> int | None:
        """Return where an entry is in a tree, whose entries are in the order of genTime but for MAX_DISORDER."""
        bundles = range(-(-size // TILE_WIDTH))
        first = bisect_left(bundles, True, key=lambda bundle: gen_time - self._times(bundle, size)[1] <= MAX_DISORDER)
        for bundle in bundles[first:]:
            entries = self.bundle(bundle, size)
            if wanted in entries:
                return bundle * TILE_WIDTH + entries.index(wanted)
            if self._times(bundle, size)[0] - gen_time > MAX_DISORDER:
                break
        return None

    def _times(self, bundle: int, size: int) -> tuple[datetime, datetime]:
        """Return the earliest and the latest genTime in a bundle."""
        try:
            times = [read_entry(each).gen_time for each in self.bundle(bundle, size)]
        except EncodingError as error:
            raise self._wrong(f"it has an entry that is none of a timestamp: {error}") from None
        return min(times), max(times)

    def _proof(self, index: int, entry: bytes, signed: SignedCheckpoint) -> LogProof:
        size = signed.checkpoint.size
        try:
            proof = LogProof(index, tuple(inclusion_path(index, size, self.hashes(size))), signed)
        except EncodingError as error:
            raise self._wrong(f"a tile cannot be read: {error}") from None
        if not proof.proves(entry):
            raise self._wrong("its tiles do not lead to the root that it signed")
        return proof
