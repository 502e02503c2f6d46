"""Logs in a directory, as tests make them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

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
from tsa_log.options import LogOptions
from tsa_log.storage import LocalStorage

ORIGIN = "log.example/tsa"
LOG_KEY = NoteSigner(ORIGIN, SignatureType.ED25519, bytes(range(32)))
WITNESS_KEY = NoteSigner("witness.example/w1", SignatureType.COSIGNATURE_ED25519, bytes(range(1, 33)))
START = datetime(2026, 6, 1, 12, tzinfo=UTC)


def settings(directory: Path, **more: Any) -> Mapping[str, Any]:
    """Return the table [audit.tokenlog] with a short interval."""
    return {"origin": ORIGIN, "directory": str(directory), "key": LOG_KEY.text(), "interval": "20ms", **more}


def options(directory: Path, **more: Any) -> LogOptions:
    return LogOptions.model_validate(settings(directory, **more))


def entry(number: int, *, after: timedelta = timedelta()) -> bytes:
    """Return an entry; those of different numbers differ."""
    digest = number.to_bytes(32, "big")
    return TimestampEntry(digest, digest, START + after, digest).encode()


def checkpoint(public: Path) -> SignedCheckpoint:
    """Return the published checkpoint, signed by the log."""
    signed = parse_signed_checkpoint((public / "checkpoint").read_bytes())
    assert signed.signed_by([LOG_KEY.key])
    return signed


def entries(public: Path) -> list[bytes]:
    """Return all entries below the checkpoint, after the tiles were shown to lead to its root."""
    if not (public / "checkpoint").exists():
        return []
    signed = checkpoint(public).checkpoint
    storage = LocalStorage(public)
    assert tree_root(signed.size, TileHashes(signed.size, lambda tile: storage.read(tile.path))) == signed.root
    bundles = [tile for tile in tiles_between(0, signed.size) if tile.level < 0]
    return [each for tile in bundles for each in read_bundle(storage.read(tile.path), tile.width)]
