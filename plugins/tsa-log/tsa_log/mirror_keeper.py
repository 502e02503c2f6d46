"""Keeps a verified copy of a log of others in a directory, for `timestamp-server log mirror`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from tsa_core.api import ConfigError, clear_scratch
from tsa_core.api.transparency import NoteSigner, SignedCheckpoint, VerifierKey
from tsa_log.mirror import Mirror
from tsa_log.publisher import Publisher
from tsa_log.remote_log import RemoteLog
from tsa_log.sequencer import SequencerLock
from tsa_log.state import StateFiles
from tsa_log.storage import LocalStorage

_KEYS_PATH: Final = "--log-key"


class MirrorKeeper:
    """A copy in `directory`: `public` is for everybody, `private` for this program alone, one process at a time.

    `signer` is the mirror's own key, with which its checkpoint says that the copy is here. Raises ConfigError for a
    directory that is another log's, or in use, DamagedLog and OSError.
    """

    def __init__(
        self, directory: Path, remote: RemoteLog, keys: Sequence[VerifierKey], signer: NoteSigner | None
    ) -> None:
        names = {key.name for key in keys}
        if len(names) != 1:
            raise ConfigError("the keys are those of different logs", path=_KEYS_PATH)
        self._remote = remote
        self._signer = signer
        private = directory / "private"
        private.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = SequencerLock(private)
        if not self._lock.take():
            raise ConfigError("another process keeps this copy", path=str(directory))
        clear_scratch(private)
        storage = LocalStorage(directory / "public", private)
        self._files = StateFiles(private)
        self._state = self._files.read(names.pop())
        self._mirror = Mirror(storage, remote, self._state.size, self._state.root)
        self._publisher = Publisher(private, storage, [], threshold=0, seconds=0)

    def copy(self, seconds: float) -> SignedCheckpoint:
        """Copy what is new, and return the log's checkpoint of it, which is the copy's now; raises RemoteLogError.

        `seconds` is the limit of each step, which copies 16,384 entries or 8 MiB. What was copied stays.
        """
        while True:
            self._remote.within(seconds)
            new = self._mirror.advance()
            if new:
                self._state = replace(self._state, size=self._mirror.size, root=self._mirror.root)
                self._files.write(self._state)
            if (signed := self._mirror.complete) is not None:
                break
            if not new:
                raise self._remote.error(
                    f"its checkpoint is older than the copy, which has {self._mirror.size} entries"
                )
        if signed.checkpoint.size > self._publisher.published.size:
            self._publisher.publish(self._cosigned(signed), {})
        return signed

    def _cosigned(self, signed: SignedCheckpoint) -> SignedCheckpoint:
        if self._signer is None:
            return signed
        line = self._signer.sign(signed.checkpoint, seconds=int(time.time()))
        return signed._replace(note=signed.note.signed_also([line]))

    def close(self) -> None:
        """Let another process keep the copy."""
        self._lock.give_back()
