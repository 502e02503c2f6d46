"""Timestamps that go into one bundle, and a journal beside it for the time of the run.

The bundle is written when the run ends, in order or by Ctrl-C. The journal, `BUNDLE.part`, has a line for each one
as it comes; a run that was killed leaves it, and the next one reads it. One run at a time has the journal locked.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
from contextlib import suppress
from typing import Self

from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.many.bundle import MAX_BUNDLE_OCTETS, Bundle, Entry, is_bundle, read_bundle
from tsa_core.cli.timestamp.many.item import Item
from tsa_core.cli.timestamp.many.places import write_new
from tsa_core.cli.timestamp.many.reading import read_whole
from tsa_core.cli.timestamp.many.sources import journal_of
from tsa_core.cli.timestamp.many.store import Store


class BundleStore(Store):
    """The timestamps in one bundle; use it in a `with` statement. Raises UsageMistake for one that cannot be used."""

    def __init__(self, path: str, *, force: bool) -> None:
        self.path = path
        self._force = force
        self._part = journal_of(path)
        self._lock = threading.Lock()
        self.bundle = Bundle()

    def __enter__(self) -> Self:
        try:
            self._journal = open(self._part, "a+b", buffering=0)
        except OSError as error:
            raise UsageMistake(f"{self._part} cannot be written: {error.strerror}") from None
        try:
            self._lock_journal()
            try:
                self._read()
            except BaseException:
                self._remove_empty_journal()
                raise
        except BaseException:
            self._journal.close()
            raise
        return self

    def _lock_journal(self) -> None:
        try:
            fcntl.flock(self._journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_it = os.path.samestat(os.fstat(self._journal.fileno()), os.stat(self._part))
        except OSError:
            is_it = False
        if not is_it:  # held by another run, or removed by one that ended meanwhile
            raise UsageMistake(f"another timestamp-cli is writing {self.path}; wait for it, or stop it")

    def _read(self) -> None:
        """Read bundle and journal; behind the lock, because whoever had it before may have written both."""
        self.bundle = existing_bundle(self.path, force=self._force) or Bundle()
        self._journal.seek(0)
        whole = 0
        for line in self._journal.readall().splitlines(keepends=True):
            try:
                entry = Entry.from_document(json.loads(line))
            except (ValueError, RecursionError):
                break  # the line that was being written when the run ended
            self.bundle.entries[entry.name] = entry
            whole += len(line)
        self._journal.truncate(whole)

    def __exit__(self, *_: object) -> None:
        self._remove_empty_journal()
        self._journal.close()

    def _remove_empty_journal(self) -> None:
        if not os.fstat(self._journal.fileno()).st_size:
            self.remove_journal()

    def location(self, item: Item) -> str:  # noqa: ARG002 - one place for all
        """Return the bundle's name."""
        return self.path

    def find(self, item: Item) -> bytes | None:
        """Return the file's token in the bundle."""
        entry = self.bundle.entries.get(item.name)
        return entry.token if entry is not None and not self._force else None

    def put(self, item: Item, data: bytes, *, digest: str) -> None:
        """Write it into the journal."""
        entry = Entry(name=item.name, digest=digest, token=data)
        line = f"{json.dumps(entry.document())}\n".encode()
        with self._lock:
            before = os.fstat(self._journal.fileno()).st_size
            try:
                written = self._journal.write(line)
                if written != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                with suppress(OSError):
                    self._journal.truncate(before)
                raise
            self.bundle.entries[item.name] = entry

    def remove_journal(self) -> None:
        """Remove the journal, when the bundle is written."""
        with suppress(OSError):
            os.unlink(self._part)


def existing_bundle(path: str, *, force: bool) -> Bundle | None:
    """Return the bundle that is there; raises UsageMistake for another file, unless that is to be replaced."""
    try:
        data = read_whole(path, MAX_BUNDLE_OCTETS)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageMistake(f"{path} cannot be read: {error.strerror}") from None
    if not data or (force and not is_bundle(data)):
        return None
    return read_bundle(path, data)


def write_document(path: str, data: bytes, *, limit: int) -> None:
    """Write a document whole or not at all, in place of an older one, onto the disk; raises UsageMistake.

    `limit` is how many octets can be read again.
    """
    if len(data) > limit:
        raise UsageMistake(f"{path} would have {len(data):,} bytes, and only {limit:,} can be read again")
    try:
        write_new(path, data, replace=True, synced=True)
    except OSError as error:
        raise UsageMistake(f"{path} cannot be written: {error.strerror}") from None
