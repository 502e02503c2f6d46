"""Signs the tree as it is, has witnesses cosign it, and makes it the log's checkpoint."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tsa_core.api.transparency import (
    Checkpoint,
    NoteSigner,
    SignedCheckpoint,
    SignedNote,
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


class Publisher:
    """Publishes one state after the other; one that too few witnesses cosign stays unpublished."""

    def __init__(
        self,
        folder: Path,
        storage: Storage,
        signers: Sequence[NoteSigner],
        witnesses: Sequence[WitnessThread],
        *,
        threshold: int,
        seconds: float,
    ) -> None:
        self._files = StateFiles(folder)
        self._storage = storage
        self._signers = signers
        self._witnesses = witnesses
        self._threshold = threshold
        self._seconds = seconds
        self.published = self._files.read_published()
        self.lacking = ""
        """Why the newest state could not be published; empty when it was."""

    def publish(self, state: LogState) -> bool:
        """Publish a tree whose tiles are written; return whether enough witnesses cosigned it. Raises OSError."""
        checkpoint = Checkpoint(state.origin, state.size, state.root)
        seconds = int(time.time())
        signatures = tuple(signer.sign(checkpoint, seconds=seconds) for signer in self._signers)
        signed = SignedCheckpoint(SignedNote(checkpoint.text, signatures), checkpoint)
        note = signed.note
        if self._witnesses:
            round_ = ask(self._witnesses, signed)
            note = note.signed_also(round_.wait(self._threshold, seconds=self._seconds, grace=_GRACE_SECONDS))
            if (count := round_.count) < self._threshold:
                self._tell(f"{count} of {len(self._witnesses)} witnesses cosigned; {self._threshold} must")
                return False
        data = note.encode()
        self._remember(data)
        self._storage.write(CHECKPOINT, data)
        self.published = Published(size=state.size, consumed=state.consumed)
        self._files.write_published(self.published)
        self._tell("")
        return True

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

    def close(self) -> None:
        """Stop the threads that ask witnesses."""
        for witness in self._witnesses:
            witness.close()
