"""Logs without a server, as tests make them: in a directory, in a bucket, or kept by an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Generic, TypeVar

from tsa_core.api.transparency import (
    NoteSigner,
    SignatureType,
    SignedCheckpoint,
    TileHashes,
    TimestampEntry,
    parse_signed_checkpoint,
    read_bundle,
    tiles_between,
    tree_root,
)
from tsa_log.engine_sequencer import EngineSequencer
from tsa_log.journal import Journal
from tsa_log.options import LogOptions
from tsa_log.publisher import Publisher
from tsa_log.sequencer import Sequencer
from tsa_log.storage import LocalStorage, Storage

S = TypeVar("S", bound=Storage)

ORIGIN = "log.example/tsa"
LOG_KEY = NoteSigner(ORIGIN, SignatureType.ED25519, bytes(range(32)))
WITNESS_KEY = NoteSigner("witness.example/w1", SignatureType.COSIGNATURE_ED25519, bytes(range(1, 33)))
START = datetime(2026, 6, 1, 12, tzinfo=UTC)
DISORDER = timedelta(seconds=10)


def settings(directory: Path, **more: Any) -> Mapping[str, Any]:
    """Return the table [audit.tokenlog] with a short interval."""
    return {"origin": ORIGIN, "directory": str(directory), "key": LOG_KEY.text(), "interval": "20ms", **more}


def options(directory: Path, **more: Any) -> LogOptions:
    return LogOptions.model_validate(settings(directory, **more))


def entry(number: int, *, after: timedelta = timedelta()) -> bytes:
    """Return an entry; those of different numbers differ."""
    digest = number.to_bytes(32, "big")
    return TimestampEntry(digest, digest, START + after, digest).encode()


def numbered(first: int, end: int) -> list[bytes]:
    """Return the entries of these numbers."""
    return [entry(number) for number in range(first, end)]


def checkpoint(public: Path) -> SignedCheckpoint:
    """Return the published checkpoint, signed by the log."""
    return signed_checkpoint((public / "checkpoint").read_bytes())


def signed_checkpoint(data: bytes) -> SignedCheckpoint:
    """Return a checkpoint, after it was shown that the log signed it."""
    signed = parse_signed_checkpoint(data)
    assert signed.signed_by([LOG_KEY.key])
    return signed


def entries(public: Path) -> list[bytes]:
    """Return all entries below the checkpoint of a directory; none where there is no checkpoint."""
    return entries_of(LocalStorage(public).read) if (public / "checkpoint").exists() else []


def entries_of(fetch: Callable[[str], bytes]) -> list[bytes]:
    """Return all entries below the checkpoint, after the tiles were shown to lead to its root."""
    size, root = signed_checkpoint(fetch("checkpoint")).checkpoint[1:3]
    assert tree_root(size, TileHashes(size, lambda tile: fetch(tile.path))) == root
    bundles = [tile for tile in tiles_between(0, size) if tile.level < 0]
    return [each for tile in bundles for each in read_bundle(fetch(tile.path), tile.width)]


class Crash(BaseException):
    """What ends a step in the middle, as kill -9 does: nothing after it is done."""


def publish(private: Path, storage: Storage, sequencer: Sequencer | EngineSequencer) -> None:
    """Integrate and publish all that waits: what the sink's thread does between two intervals."""
    while sequencer.step():
        pass
    publisher = Publisher(private, storage, [], threshold=0, seconds=1)
    if (signed := sequencer.checkpoint) is not None:
        publisher.publish(signed, sequencer.state.consumed)
        sequencer.clear(publisher.published)


class Log(Generic[S]):
    """A log's journal in a directory, and the storage of its public files."""

    def __init__(self, folder: Path, storage: S) -> None:
        self.folder = folder
        self.private = folder / "private"
        self.storage = storage
        (self.private / "pending").mkdir(parents=True, exist_ok=True)
        self.journal = Journal(self.private / "pending")

    def sequencer(self) -> Sequencer:
        return Sequencer(self.private, self.storage, ORIGIN, DISORDER, [LOG_KEY])

    def run(self) -> Sequencer:
        """Do what a server does that starts and ends."""
        sequencer = self.sequencer()
        publish(self.private, self.storage, sequencer)
        return sequencer

    def close(self) -> None:
        self.journal.close()
        self.storage.close()


class LocalLog(Log[LocalStorage]):
    """A log whose public files are in the same directory."""

    def __init__(self, folder: Path) -> None:
        self.public = folder / "public"
        super().__init__(folder, LocalStorage(self.public, folder / "private"))
