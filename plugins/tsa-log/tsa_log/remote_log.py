"""Reads the files of a log that others keep, over HTTP (C2SP tlog-tiles). Nothing is believed but what is signed."""

from __future__ import annotations

import http.client
from collections.abc import Sequence
from time import monotonic
from typing import Final

from cryptography.exceptions import InvalidSignature

from tsa_core.api import TsaError
from tsa_core.api.transparency import (
    HASH_OCTETS,
    MAX_NOTE_OCTETS,
    TILE_WIDTH,
    EncodingError,
    SignedCheckpoint,
    Tile,
    TileHashes,
    VerifierKey,
    parse_signed_checkpoint,
    read_bundle,
)
from tsa_log.bounded_http import BoundedConnection, Limit, printable, why_it_failed

_MAX_BUNDLE_OCTETS: Final = TILE_WIDTH * (2 + 0xFFFF)
_MISSING: Final = frozenset({403, 404, 410})
"""What is answered for a file that is not there: S3 says 403 to whoever may read a bucket, and not list it."""


class RemoteLogError(TsaError):
    """A log that cannot be read, or whose files are not those of its checkpoint; the text says where and why."""


class RemoteLog:
    """A log at a URL prefix, and the keys by which it signs.

    All reads after `within` share its limit. Methods raise RemoteLogError.
    """

    def __init__(self, url: str, keys: Sequence[VerifierKey]) -> None:
        self.url = url.rstrip("/")
        self._keys = keys
        self._connection = BoundedConnection(self.url)
        self._deadline = 0.0

    def within(self, seconds: float) -> None:
        """Let everything that is read from now on end in so many seconds."""
        self._deadline = monotonic() + seconds

    def error(self, text: str) -> RemoteLogError:
        """Return an error that names the log."""
        return RemoteLogError(f"{self.url}: {text}")

    def _fetch(self, path: str, most: int) -> bytes | None:
        """Return a file, None when there is none."""
        if (seconds := self._deadline - monotonic()) <= 0:
            raise self.error("no answer in time")
        try:
            with Limit(seconds) as limit:
                answer = self._connection.get(path, limit, most=most)
        except (OSError, http.client.HTTPException) as error:
            raise self.error(f"it cannot be reached: {why_it_failed(error)}") from None
        if answer.status in _MISSING:
            return None
        if answer.status != 200:
            raise self.error(f"{path}: it answered {answer.status}: {printable(answer.body)}")
        if len(answer.body) > most:
            raise self.error(f"{path} is longer than {most} octets")
        return answer.body

    def checkpoint(self) -> SignedCheckpoint:
        """Return the newest checkpoint, which one of the keys has signed in its own name."""
        data = self._fetch("checkpoint", MAX_NOTE_OCTETS)
        if data is None:
            raise self.error("it has no checkpoint, or does not show it")
        try:
            signed = parse_signed_checkpoint(data)
            origin = signed.checkpoint.origin
            known = signed.signed_by([key for key in self._keys if key.name == origin])
        except EncodingError as error:
            raise self.error(f"its checkpoint cannot be read: {error}") from None
        except InvalidSignature:
            known = []
        if not known:
            raise self.error("its checkpoint is not signed by the log's key")
        return signed

    def tile(self, tile: Tile) -> bytes:
        """Return a tile or bundle; of one that is whole by now, the part that was asked for."""
        most = _MAX_BUNDLE_OCTETS if tile.level < 0 else TILE_WIDTH * HASH_OCTETS
        data = self._fetch(tile.path, most)
        if data is not None:
            return data
        data = self._fetch(tile.whole.path, most) if tile.width < TILE_WIDTH else None
        if data is None:
            raise self.error(f"it has no {tile.path}, or does not show it")
        return tile.part_of(data)

    def hashes(self, size: int) -> TileHashes:
        """Return the complete subtrees of the tree of this size; EncodingError for tiles that are none."""
        return TileHashes(size, self.tile)

    def entries(self, index: int, size: int) -> list[bytes]:
        """Return the entries of bundle `index` in the tree of this size."""
        tile = Tile(-1, index, min(TILE_WIDTH, size - index * TILE_WIDTH))
        try:
            return read_bundle(self.tile(tile), tile.width)
        except EncodingError as error:
            raise self.error(f"{tile.path} cannot be read: {error}") from None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
