"""Has witnesses cosign a signed tree, and makes it the log's checkpoint."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature

from tsa_core.api.transparency import (
    Checkpoint,
    EncodingError,
    NoteSigner,
    SignedCheckpoint,
    SignedNote,
    TileHashes,
    VerifierKey,
    encode_minute,
    minute_path,
    parse_signed_checkpoint,
    tiles_between,
    tree_root,
)
from tsa_log.state import LogState, Published, StateFiles
from tsa_log.storage import CHECKPOINT, Conflict, LocalStorage, Storage
from tsa_log.witnesses import WitnessThread, ask

log = logging.getLogger(__name__)

_GRACE_SECONDS: Final = 0.25
"""How long witnesses that answer later than the threshold still count."""


def sign(state: LogState, signers: Sequence[NoteSigner]) -> SignedCheckpoint:
    """Return the checkpoint of a tree, signed by the log's keys."""
    checkpoint = Checkpoint(state.origin, state.size, state.root)
    seconds = int(time.time())
    signatures = tuple(signer.sign(checkpoint, seconds=seconds) for signer in signers)
    return SignedCheckpoint(SignedNote(checkpoint.text, signatures), checkpoint)


class Publisher:
    """Publishes one tree after the other; one that too few witnesses cosign stays unpublished.

    `witnesses` are asked; `cosigners` are witnesses that somebody else asks, whose cosignatures come with the tree.
    """

    def __init__(
        self,
        folder: Path,
        storage: Storage,
        witnesses: Sequence[WitnessThread],
        *,
        threshold: int,
        seconds: float,
        cosigners: Sequence[VerifierKey] = (),
    ) -> None:
        self._files = StateFiles(folder)
        self._storage = storage
        self._witnesses = witnesses
        self._cosigners = cosigners
        self._threshold = threshold
        self._seconds = seconds
        self._last: bytes | None = None
        """The checkpoint as this object has published it."""
        self.published = self._files.read_published()
        self.lacking = ""
        """Why the newest tree could not be published; empty when it was."""

    def publish(self, signed: SignedCheckpoint, consumed: Mapping[str, int]) -> bool:
        """Publish a tree whose tiles are written, and which holds so much of each journal.

        Returns whether enough witnesses cosigned it. Raises OSError, and Conflict when a checkpoint of another tree is
        published.
        """
        size = signed.checkpoint.size
        if size > self.published.size:
            note = self._cosigned(signed)
            if note is None:
                return False
            data = note.encode()
            self._storage.update(minute_path(datetime.now(UTC)), lambda before: _with(before or b"", data))
            self._storage.update(CHECKPOINT, lambda found: self._instead_of(found, signed.checkpoint, data))
            self._last = data
        elif consumed == self.published.consumed:
            return True
        former = self.published.size
        if isinstance(self._storage, LocalStorage):  # before it is written down: after a crash it is done again
            for tile in tiles_between(former, size):
                if tile == tile.whole:
                    self._storage.drop_parts(tile)
        self.published = Published(size=size, consumed=consumed)
        self._files.write_published(self.published)
        self._tell("")
        return True

    def _cosigned(self, signed: SignedCheckpoint) -> SignedNote | None:
        """Return the note with the cosignatures of witnesses, None when they are too few."""
        count, note = self._count_cosigners(signed), signed.note
        if self._witnesses:
            round_ = ask(self._witnesses, signed)
            threshold = max(self._threshold - count, 0)
            note = note.signed_also(round_.wait(threshold, seconds=self._seconds, grace=_GRACE_SECONDS))
            count += round_.count
        if count < self._threshold:
            total = len(self._witnesses) + len(self._cosigners)
            self._tell(f"{count} of {total} witnesses cosigned; {self._threshold} must")
            return None
        return note

    def _count_cosigners(self, signed: SignedCheckpoint) -> int:
        count = 0
        for key in self._cosigners:
            with suppress(InvalidSignature):
                count += bool(signed.signed_by([key]))
        return count

    def _instead_of(self, found: bytes | None, new: Checkpoint, data: bytes) -> bytes:
        """Return the new checkpoint if the one that is there is of the same log, and no newer."""
        if found is not None and found != self._last:
            self._check_former(found, new)
        return data

    def _check_former(self, found: bytes, new: Checkpoint) -> None:
        try:
            there = parse_signed_checkpoint(found).checkpoint
        except EncodingError as error:
            raise Conflict(f"the published checkpoint is none that can be read: {error}") from None
        if there.origin != new.origin:
            raise Conflict(f"the published checkpoint is of the log {there.origin}, and this is {new.origin}")
        hashes = TileHashes(new.size, self._storage.read_tile)
        if there.size > new.size or (there.size and tree_root(there.size, hashes) != there.root):
            raise Conflict(
                f"the published checkpoint is of another tree, of {there.size} entries, and this one has {new.size}: "
                "another server writes this log, or the directory was restored from a backup"
            )

    def _tell(self, lacking: str) -> None:
        if lacking and not self.lacking:
            log.error("the log's newest entries are not published: %s", lacking)
        elif self.lacking and not lacking:
            log.info("the log's newest entries are published again")
        self.lacking = lacking


def _with(minute: bytes, note: bytes) -> bytes:
    """Return a minute's file with a checkpoint, which it may have already: the store's answer was lost."""
    added = encode_minute(b"", note)
    return minute if minute.endswith(added) else encode_minute(minute, note)
