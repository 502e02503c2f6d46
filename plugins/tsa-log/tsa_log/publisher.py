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
    NoteSigner,
    SignedCheckpoint,
    SignedNote,
    VerifierKey,
    encode_minute,
    minute_path,
)
from tsa_log.state import LogState, Published, StateFiles
from tsa_log.storage import Storage
from tsa_log.witnesses import WitnessThread, ask

log = logging.getLogger(__name__)

CHECKPOINT: Final = "checkpoint"
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
        self.published = self._files.read_published()
        self.lacking = ""
        """Why the newest tree could not be published; empty when it was."""

    def publish(self, signed: SignedCheckpoint, consumed: Mapping[str, int]) -> bool:
        """Publish a tree whose tiles are written, and which holds so much of each journal; raises OSError.

        Returns whether enough witnesses cosigned it.
        """
        size = signed.checkpoint.size
        if size > self.published.size:
            note = self._cosigned(signed)
            if note is None:
                return False
            self._remember(note.encode())
            self._storage.write(CHECKPOINT, note.encode())
        elif consumed == self.published.consumed:
            return True
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

    def _remember(self, note: bytes) -> None:
        path = minute_path(datetime.now(UTC))
        try:
            before = self._storage.read(path)
        except FileNotFoundError:
            before = b""
        self._storage.write(path, encode_minute(before, note))

    def _tell(self, lacking: str) -> None:
        if lacking and not self.lacking:
            log.error("the log's newest entries are not published: %s", lacking)
        elif self.lacking and not lacking:
            log.info("the log's newest entries are published again")
        self.lacking = lacking
