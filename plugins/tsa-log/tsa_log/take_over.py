"""Goes on with a log in a bucket whose machine is lost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tsa_core.api import ConfigError
from tsa_core.api.transparency import (
    TILE_WIDTH,
    EncodingError,
    Tile,
    TileHashes,
    VerifierKey,
    parse_signed_checkpoint,
    read_bundle,
    read_entry,
    tiles_between,
    tree_root,
)
from tsa_log.head import HEAD, Claim, Head, TreeHead, read_claim
from tsa_log.objects import ObjectStorage
from tsa_log.sequencer import SequencerLock
from tsa_log.state import LogState, Published, StateFiles
from tsa_log.storage import CHECKPOINT
from tsa_log.tree import DamagedLog, GrowingTree

_BUNDLES_BACK: Final = 2
"""How many bundles are read for the latest genTime: a batch is in its order."""


def take_over(folder: Path, storage: ObjectStorage, origin: str, key: VerifierKey) -> LogState:
    """Write the state of a log into a directory that has none, and make it the log's writer; return the state.

    The tree is the newest that the former writer can have shown to a witness: the step that it was at, if all of that
    is in the bucket. Raises ConfigError, Conflict, DamagedLog and OSError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "pending").mkdir(mode=0o700, exist_ok=True)
    lock = SequencerLock(folder)
    if not lock.take():
        raise ConfigError("a server uses this directory", path=str(folder.parent))
    try:
        files = StateFiles(folder)
        if size := files.read(origin).size:
            raise ConfigError(
                f"this directory has a log of {size} entries already; take the log over into an empty one",
                path=str(folder.parent),
            )
        return _take_over(files, storage, origin, key)
    finally:
        lock.give_back()


def _take_over(files: StateFiles, storage: ObjectStorage, origin: str, key: VerifierKey) -> LogState:
    try:
        found = storage.read(HEAD)
    except FileNotFoundError:
        raise ConfigError(f"no server has written a log to {storage.where}", path="--storage") from None
    claim = read_claim(found, storage.where)
    tree, left_over = _newest(storage, claim)
    published = _published(storage, origin, key, tree)
    head = Head(storage, origin=origin, writer=files.writer())
    head.take_over(claim, tree)
    for tile in left_over:
        storage.delete(tile.path)
    entries = _last_entries(storage, tree.size)
    newest = max((read_entry(entry).microseconds for entry in entries), default=0)
    state = LogState(origin=origin, size=tree.size, root=tree.root, newest=newest)
    files.write_published(Published(size=published))
    files.write(state)
    return state


def _newest(storage: ObjectStorage, claim: Claim) -> tuple[TreeHead, Sequence[Tile]]:
    """Return the tree to go on from, and which files of a step may be there that was not made to its end."""
    before, after = claim.before, claim.after
    growing = GrowingTree(storage, before.size, before.root)
    if before == after:
        return before, ()
    step = list(tiles_between(before.size, after.size))
    try:
        bundles = [tile for tile in step if tile.level < 0]
        entries = [entry for tile in bundles for entry in read_bundle(storage.read_tile(tile), tile.width)]
        files = growing.add(entries[before.size % TILE_WIDTH :])
        for file in files:
            if storage.read(file.path) != file.data:
                raise EncodingError(f"{file.path} has other content")
    except (FileNotFoundError, EncodingError):
        return before, step
    return (after, ()) if growing.root == after.root else (before, step)


def _published(storage: ObjectStorage, origin: str, key: VerifierKey, tree: TreeHead) -> int:
    """Return how many entries are published; raises DamagedLog unless the tree continues them."""
    try:
        signed = parse_signed_checkpoint(storage.read(CHECKPOINT))
    except FileNotFoundError:
        return 0
    except EncodingError as error:
        raise DamagedLog(f"{storage.where}/{CHECKPOINT} cannot be read: {error}") from None
    there = signed.checkpoint
    if there.origin != origin or not signed.signed_by([key]):
        raise ConfigError(f"{storage.where} holds a log that {key.name} has not signed", path="--log-key")
    hashes = TileHashes(tree.size, storage.read_tile)
    if there.size > tree.size or (there.size and tree_root(there.size, hashes) != there.root):
        raise DamagedLog(f"the tree of {tree.size} entries in {storage.where} does not continue its checkpoint")
    return there.size


def _last_entries(storage: ObjectStorage, size: int) -> list[bytes]:
    begin = max(0, size - 1) // TILE_WIDTH * TILE_WIDTH - (_BUNDLES_BACK - 1) * TILE_WIDTH
    tiles = [tile for tile in tiles_between(max(0, begin), size) if tile.level < 0]
    return [entry for tile in tiles for entry in read_bundle(storage.read_tile(tile), tile.width)]
