"""Puts entries into the tree, a batch every interval, by one process of all."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from tsa_core.api import clear_scratch
from tsa_core.api.transparency import EncodingError, NoteSigner, SignedCheckpoint, read_entry
from tsa_log.head import Head, TreeHead
from tsa_log.journal import MAX_READ, Journals, read_records
from tsa_log.objects import ObjectStorage
from tsa_log.publisher import sign
from tsa_log.state import Batch, Published, StateFiles
from tsa_log.storage import Storage
from tsa_log.tree import GrowingTree

log = logging.getLogger(__name__)

MAX_BATCH: Final = 32_768
"""Entries in one step; what is more waits for the next one, which follows at once."""
MICROSECOND: Final = timedelta(microseconds=1)


def went_back(seconds: float) -> str:
    """Return why a log stops at an entry that is so much older than one before it."""
    return (
        f"an entry is {seconds:.3f} s older than one before it: the clock was set back, or a token was made elsewhere; "
        "find out, then `timestamp-server log accept`"
    )


def time_of(entry: bytes, journal: str) -> int | None:
    """Return an entry's genTime in microseconds; None for one that is none, of which the log file is told."""
    try:
        return read_entry(entry).microseconds
    except EncodingError as error:
        reason = str(error)
    log.error("an entry of %s is left out: %s", journal, reason)
    return None


class SequencerLock:
    """Who holds it is the sequencer of a directory; the system takes it back from a process that dies."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "sequencer.lock"
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Say whether this process has the lock now; raises OSError."""
        if self._descriptor is not None:
            return True
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def give_back(self) -> None:
        """Let another process be the sequencer."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Sequencer:
    """Integrates what the journals of all processes hold, in the order of genTime within a batch.

    With the lock held. Between two batches genTime must not go back by more than `disorder`: a clock that was set back,
    or a token that somebody smuggled in, stops the log until an operator has accepted it.
    """

    failure: Final = ""
    """Why entries are not in the tree yet: what goes wrong here raises."""

    def __init__(
        self, folder: Path, storage: Storage, origin: str, disorder: timedelta, signers: Sequence[NoteSigner]
    ) -> None:
        """Finish what a process that died had begun; raises OSError, ConfigError, DamagedLog and Conflict."""
        clear_scratch(folder)
        self._journals = Journals(folder / "pending")
        self._files = StateFiles(folder)
        self._storage = storage
        self._disorder = disorder // MICROSECOND
        self._signers = signers
        self._signed: SignedCheckpoint | None = None
        self.state = self._files.read(origin)
        self._tree: GrowingTree | None = GrowingTree(storage, self.state.size, self.state.root)
        batch = self._files.read_batch()
        self._head: Head | None = None
        if isinstance(storage, ObjectStorage):
            self._head = Head(storage, origin=origin, writer=self._files.writer())
        if self.state.stopped:
            return
        if batch is not None and batch.size == self.state.size and batch.entries:
            self._integrate(batch)
        elif self._head is not None:
            here = TreeHead(self.state.size, self.state.root)
            self._head.claim(here, here)

    @property
    def checkpoint(self) -> SignedCheckpoint | None:
        """The tree as it is, signed by the log; None for an empty one."""
        if self.state.size and (self._signed is None or self._signed.checkpoint.size != self.state.size):
            self._signed = sign(self.state, self._signers)
        return self._signed

    def step(self) -> bool:
        """Integrate what waits; return whether more waits than one step takes. Raises OSError and Conflict."""
        if self.state.stopped:
            return False
        if reason := self._files.read_wish_to_stop():
            self._stop(reason)
            return False
        if self._tree is None:  # a step failed: what it wrote is written again
            self._tree = GrowingTree(self._storage, self.state.size, self.state.root)
            batch = self._files.read_batch()
            if batch is not None and batch.size == self.state.size and batch.entries:
                self._integrate(batch)
                return True
        found, consumed = self._collect()
        if not found:
            return False
        found.sort(key=lambda each: each[0])
        oldest, newest = found[0][0], max(found[-1][0], self.state.newest)
        if oldest < self.state.newest - self._disorder:
            self._stop(went_back((self.state.newest - oldest) / 1e6))
            return False
        self._integrate(
            Batch(size=self.state.size, newest=newest, consumed=consumed, entries=[entry for _, entry in found])
        )
        return len(found) >= MAX_BATCH

    def _integrate(self, batch: Batch) -> None:
        tree, self._tree = self._tree, None
        if tree is None:
            raise RuntimeError("there is no tree to add to")
        self._files.write_batch(batch)
        before = TreeHead(tree.size, self.state.root)
        files = tree.add(batch.entries)
        if self._head is not None:
            self._head.claim(before, TreeHead(tree.size, tree.root))
        self._storage.write_all(files)
        state = replace(self.state, size=tree.size, root=tree.root, newest=batch.newest, consumed=batch.consumed)
        self._files.write(state)
        self.state, self._tree = state, tree

    def _stop(self, reason: str) -> None:
        log.critical("the log %s is stopped: %s", self.state.origin, reason)
        state = replace(self.state, stopped=reason)
        self._files.write(state)
        self.state = state

    def _collect(self) -> tuple[list[tuple[int, bytes]], dict[str, int]]:
        """Return the entries that wait, with their genTime in microseconds, and how far each journal is read then."""
        found: list[tuple[int, bytes]] = []
        consumed = dict(self.state.consumed)
        for path in self._journals.paths():
            for entry, end in read_records(path, consumed.get(path.name, 0), MAX_READ):
                if len(found) >= MAX_BATCH:
                    return found, consumed
                # An empty one is a probe.
                if entry and (microseconds := time_of(entry, path.name)) is not None:
                    found.append((microseconds, entry))
                consumed[path.name] = end
        return found, consumed

    def clear(self, published: Published) -> None:
        """Remove the journals of processes that have ended, once all of them is in a published checkpoint."""
        there = self._journals.clear(published.consumed)
        self.state = replace(
            self.state, consumed={name: end for name, end in self.state.consumed.items() if name in there}
        )

    def close(self) -> None:
        """Nothing is held but the lock, which is the caller's."""
