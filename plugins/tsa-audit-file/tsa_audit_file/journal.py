"""Appends to the file, syncs it, and puts the next one in its place.

A file is rotated by giving it a second name, writing its last line, and putting a new file, whose first line says what
it continues, in its place; whoever finds the last line without a new file does the rest.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tsa_audit_file.shared_file import FILE_MODE, SharedFile, give_to_owner, write_all
from tsa_audit_file.tampering import Fault, forget_fault
from tsa_core.api import sync_folder
from tsa_core.api.trail import BrokenChainError, Link, encode, seal, utc_text

log = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 60.0
"""How long a rotation that failed is left alone."""


class Journal(SharedFile):
    """A shared file that is appended to, synced and rotated. For one thread at a time; raises what SharedFile does."""

    def append(self, members: Sequence[str]) -> None:
        """Add a line for each record, encoded by `chain.encode`; all of them or none. They are not synced yet."""
        fd = self._lock()
        try:
            if self._ended or self._suspect or self._size >= self._max_size or time.time() >= self._day_ends:
                fd = self._rotate(fd)
            self._write(fd, members)
        finally:
            # A rotation that worked has closed the old file, and with it the lock.
            if self._fd is not None:
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def sync(self) -> None:
        """Wait until the disk has what was appended."""
        if self._fd is None:
            return
        try:
            os.fdatasync(self._fd)
        except OSError:
            # The system may have dropped what it could not write, and will not report it twice: a new file.
            self._suspect = True
            raise

    def accept(self, fault: Fault, reason: str, *, new_file: bool) -> tuple[Link | None, Link]:
        """Accept what is there in place of what a fault says; return its last line's link, and the first one's behind.

        A new file continues what is there. When nothing is there, or `new_file`, it begins at the line that should be.
        """
        accepted = utc_text(datetime.now(UTC))
        if accepted <= fault.accepted:
            raise BrokenChainError(f"the clock is behind {fault.accepted}, when a fault was accepted before")
        if new_file and self._in_place() is not None:
            self.path.rename(self.path.with_name(f"{self.path.stem}-damaged-{accepted[:19]}{self.path.suffix}"))
        found: Link | None = None
        if self._in_place() is None:
            self._known, self._first = (fault.expected, 0), {"accepted": accepted}
            fd = self._open()
            give_to_owner(fd, self.path.parent.stat())
            fcntl.flock(fd, fcntl.LOCK_EX)
            self._catch_up(fd, 0)
        else:
            fd = self._open()
            fcntl.flock(fd, fcntl.LOCK_EX)
            self._catch_up(fd, os.fstat(fd).st_size)
            found = self._known[0]
            fd = self._next_file(fd, accepted)
        details = {
            "reason": reason,
            "fault": fault.reason,
            "expected": f"{fault.expected.seq}:{fault.expected.digest}",
            "found": "nothing" if found is None else f"{found.seq}:{found.digest}",
        }
        self._write(fd, [encode({"type": "event", "kind": "audit.accepted", "time": accepted, "details": details})])
        self.sync()
        forget_fault(self.path)
        return found, self._known[0]

    def _rotate(self, fd: int) -> int:
        """Put a new file in place of this one and return it; if that fails, return this one if it is good still."""
        if not self._ended and not self._suspect and time.monotonic() < self._no_rotation_before:
            return fd
        try:
            return self._next_file(fd)
        except OSError as error:
            if self._ended or self._suspect:
                raise
            self._no_rotation_before = time.monotonic() + _RETRY_SECONDS
            log.error("%s cannot be rotated: %s; it grows on", self.path, error.strerror or error)  # noqa: TRY400 - no traceback
            return fd

    def _next_file(self, fd: int, accepted: str = "") -> int:
        archived = self._archived_path()
        try:
            # Another name, and not another name instead: there is always a file in place.
            os.link(self.path, archived)
        except FileExistsError:
            if not archived.samefile(self.path):
                raise
        if not self._ended:
            self._end(fd, archived.name)
        os.fdatasync(fd)
        new_path = self.path.with_name(f".{self.path.name}.{os.getpid()}.new")
        with contextlib.suppress(FileNotFoundError):
            new_path.unlink()
        new = os.open(new_path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, FILE_MODE)
        try:
            give_to_owner(new, os.fstat(fd))
            first = self._first_line(self._known[0], archived.name, accepted)
            line, link = seal(encode(first), self._known[0], self._hash)
            write_all(new, line.encode("ascii"))
            os.fdatasync(new)
            # Nobody may write to the new file before this process is done with it.
            fcntl.flock(new, fcntl.LOCK_EX)
            new_path.rename(self.path)
        except BaseException:
            os.close(new)
            with contextlib.suppress(OSError):
                new_path.unlink()
            raise
        self.close()
        self._adopt(new)
        self._before = None
        self._known, self._first = (link, len(line)), first
        self._ended = self._moved = self._suspect = False
        self._size, self._read = len(line), True
        self._start_day(time.time())
        sync_folder(self.path.parent)
        return new

    def _archived_path(self) -> Path:
        """Return the name for the time after: in order of the files, and never used twice in one chain."""
        begun = datetime.fromisoformat(self._first["time"]).strftime("%Y%m%dT%H%M%SZ")
        number = self._first.get("file", 1)
        return self.path.with_name(f"{self.path.stem}-{number:06d}-{begun}{self.path.suffix}")
