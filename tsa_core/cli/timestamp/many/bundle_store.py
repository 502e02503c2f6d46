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
from tsa_core.cli.timestamp.many.store import Store


class BundleStore(Store):
    """The timestamps in one bundle; use it in a `with` statement. Raises UsageMistake for one that cannot be used."""

    def __init__(self, path: str, *, force: bool) -> None:
        self.path = path
        self._force = force
        self._part = f"{path}.part"
        self._lock = threading.Lock()
        self.bundle = existing_bundle(path, force=force) or Bundle()

    def __enter__(self) -> Self:
        try:
            self._journal = open(self._part, "a+b", buffering=0)
        except OSError as error:
            raise UsageMistake(f"{self._part} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(self._journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._journal.close()
            raise UsageMistake(f"another timestamp-cli is writing {self.path}; wait for it, or stop it") from None
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
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.close()

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
        with open(path, "rb") as file:
            data = file.read(MAX_BUNDLE_OCTETS)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageMistake(f"{path} cannot be read: {error.strerror}") from None
    if not data or (force and not is_bundle(data)):
        return None
    return read_bundle(path, data)


def write_document(path: str, data: bytes) -> None:
    """Write a document whole or not at all, in place of an older one; raises UsageMistake."""
    try:
        write_new(path, data, replace=True)
    except OSError as error:
        raise UsageMistake(f"{path} cannot be written: {error.strerror}") from None
