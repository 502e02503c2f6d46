"""Entries on their way into the log: on the disk before the token leaves, in the tree within a second or so.

Each process appends to a file of its own, `pending/NAME.entries`, and holds a lock on it as long as it may write. A
record is the entry's length (two octets), the CRC-32 of the entry (four), the entry. A record that was cut off by a
crash belongs to a token that never left; it can only be the last of its file.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tsa_core.api import sync_folder

log = logging.getLogger(__name__)

SUFFIX: Final = ".entries"
UNREAD: Final = ".unread"
"""What a journal that cannot be read to its end is called once its process has ended."""
MAX_READ: Final = 8 << 20
"""How many octets of a journal are read at once."""
_HEAD_OCTETS: Final = 6
_MAX_OCTETS: Final = 8 << 20
"""A file of this size is followed by a new one, so that the integrated one can go."""


def encode_record(entry: bytes) -> bytes:
    """Return an entry as a journal has it."""
    return len(entry).to_bytes(2, "big") + zlib.crc32(entry).to_bytes(4, "big") + entry


def read_records(path: Path, offset: int, limit: int) -> Iterator[tuple[bytes, int]]:
    """Yield the entries behind `offset`, each with the offset of its end; at most `limit` octets are read."""
    with path.open("rb") as stream:
        stream.seek(offset)
        data = stream.read(limit)
    place = 0
    while place + _HEAD_OCTETS <= len(data):
        length = int.from_bytes(data[place : place + 2], "big")
        end = place + _HEAD_OCTETS + length
        entry = data[place + _HEAD_OCTETS : end]
        if end > len(data) or zlib.crc32(entry) != int.from_bytes(data[place + 2 : place + 6], "big"):
            return
        yield entry, offset + end
        place = end


class Place(NamedTuple):
    """Where a record ends: when this much of this file is integrated, its token is."""

    journal: str
    end: int


class _Batch:
    """What threads that came at the same time write together."""

    __slots__ = ("done", "failure", "octets", "place")

    def __init__(self) -> None:
        self.octets: list[bytes] = []
        self.done = False
        self.failure: OSError | None = None
        self.place: Place | None = None


class Journal:
    """The file of one process. Threads that come while one writes and syncs share the next write and sync."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mutex = threading.Lock()
        self._file = threading.Lock()
        self._batch = _Batch()
        self._descriptor: int | None = None
        self._name = ""
        self._end = 0

    def store(self, entries: Sequence[bytes]) -> Place:
        """Store entries durably and return where they end; raises OSError, and then none of them is stored."""
        octets = b"".join(map(encode_record, entries))
        with self._mutex:
            batch = self._batch
            batch.octets.append(octets)
        with self._file:
            if not batch.done:
                self._write(batch)
        if batch.failure is not None:
            raise OSError(batch.failure.errno, batch.failure.strerror) from batch.failure
        if batch.place is None:
            raise InterruptedError("the thread that wrote was interrupted")
        return batch.place

    def _write(self, batch: _Batch) -> None:
        with self._mutex:
            self._batch = _Batch()
        try:
            batch.place = self._append(b"".join(batch.octets))
        except OSError as error:
            batch.failure = error
        finally:
            batch.done = True

    def _append(self, octets: bytes) -> Place:
        descriptor = self._open()
        view = memoryview(octets)
        try:
            while view:
                view = view[os.write(descriptor, view) :]
            os.fdatasync(descriptor)
        except OSError:
            # What is there of it is no part of the journal. When not even that can be done, nothing is written here
            # again, and a record that was written whole after all is in the log without its token: harmless.
            try:
                os.ftruncate(descriptor, self._end)
                os.fsync(descriptor)
            except OSError:
                self._leave()
            raise
        self._end += len(octets)
        return Place(self._name, self._end)

    def _open(self) -> int:
        if self._descriptor is not None and self._end < _MAX_OCTETS and self.is_there():
            return self._descriptor
        self._leave()
        name = f"{os.urandom(12).hex()}{SUFFIX}"
        descriptor = os.open(
            self._folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            sync_folder(self._folder)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor, self._name, self._end = descriptor, name, 0
        return descriptor

    def is_there(self) -> bool:
        """Say whether the file still has its name: entries in a file without one reach no log."""
        return self._descriptor is not None and os.fstat(self._descriptor).st_nlink > 0

    def _leave(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def forget(self) -> None:
        """In a process that was forked: the parent's file is not ours, nor are its locks."""
        self._mutex, self._file, self._batch = threading.Lock(), threading.Lock(), _Batch()
        self._leave()

    def close(self) -> None:
        """Write no more to this file."""
        with self._file:
            self._leave()


class Journals:
    """The files of all processes, for the one that integrates them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def paths(self) -> list[Path]:
        """Return them, in one order always."""
        return sorted(self._folder.glob(f"*{SUFFIX}"))

    def clear(self, published: Mapping[str, int]) -> set[str]:
        """Remove those of processes that have ended, once all of them is published; return the names of the rest.

        What cannot be read of one is kept under another name.
        """
        for path in self.paths():
            done = published.get(path.name, 0)
            try:
                if is_abandoned(path) and next(read_records(path, done, MAX_READ), None) is None:
                    _remove(path, done)
            except OSError as error:
                log.warning("the journal %s cannot be removed: %s", path.name, error.strerror)
        return {path.name for path in self.paths()}


def _remove(path: Path, done: int) -> None:
    """Remove a journal of which nothing can be read behind `done`; keep it under another name if something is there."""
    if not (left := path.stat().st_size - done):
        path.unlink()
        return
    kept = path.with_suffix(UNREAD)
    path.rename(kept)
    log.error(
        "the last %d octets of the journal %s cannot be read, and are kept in %s: a crash has cut off a record, whose "
        "token never left, or the disk has damaged one, and the tokens behind it are not in the log",
        left,
        path.name,
        kept.name,
    )


def is_abandoned(path: Path) -> bool:
    """Say whether no process holds a journal any more, so that it can go when all of it is integrated."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
