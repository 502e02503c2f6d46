"""A file that several processes append to: its lock, its end, and whether it is as this process left it.

Each append holds an flock: it looks at what others have written since, mends a line that a crash tore, and adds its own
lines in one write that is undone when it does not fit. A lock is per open file, so a process that was forked must
`forget` its parent's.

A process remembers the last line that it knows, the file's inode and where the line ends. The line must still be there
at the next append, and a file that follows must continue it. Anything else is a fault (`tampering`): nothing is
appended until an operator has accepted what is there, which the first line of a new file says.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import math
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tsa_audit_file.descent import Ancestor, descends
from tsa_audit_file.ends import FORMAT_VERSION, End, check_known, follow_end, read_end, read_first
from tsa_audit_file.tampering import Fault, TamperedError, forget_fault, read_fault, write_fault
from tsa_core.api import open_regular, sync_folder
from tsa_core.api.trail import BrokenChainError, Link, begin_hash, encode, seal, utc_text

log = logging.getLogger(__name__)

FILE_MODE: Final = 0o600
_DAY_SECONDS: Final = 86_400
_LOOK_SECONDS: Final = 1.0
"""How often to look whether the file still has its name; looking costs as much as writing a line does."""
_NEVER: Final = math.inf


class SharedFile:
    """The end of the chain, in a file that may be shared with other processes. For one thread at a time.

    Every method raises OSError as the system does, BrokenChainError for a file that is not to be continued, and
    TamperedError when the trail is not as this process, or another one that said so, has left it.
    """

    def __init__(self, path: Path, *, key: bytes | None = None, max_size: int = 0, daily: bool = False) -> None:
        self.path = path
        self._keyed = key is not None
        self._hash = begin_hash(key)
        self._max_size = max_size or _NEVER
        self._daily = daily
        self._fd: int | None = None
        self._inode = (0, 0)
        self._size = 0
        self._known = (Link(), 0)
        """The last line that this process knows, and where it ends; of the file `_inode` once `_read` is true."""
        self._read = False
        self._before: Ancestor | None = None
        """What the next file must descend from."""
        self._fault: Fault | None = None
        self._next_retry = 0.0
        self._day_ends = _NEVER
        self._first: dict[str, Any] = {}
        self._ended = False
        self._moved = False
        """Whether the file ended because it was moved, so that there may be none in its place."""
        self._suspect = False
        self._no_rotation_before = 0.0
        self._next_look = 0.0

    @property
    def _accepted(self) -> str:
        """The time of the last acceptance that this process knows."""
        return str(self._first.get("accepted", ""))

    def close(self) -> None:
        """Let go of the file."""
        if self._fd is not None:
            self._before = self._ancestor()
            os.close(self._fd)
            self._fd = None

    forget = close

    def look(self) -> Link:
        """Return the last line that is known, after a look at whether it is there; waits for no other process."""
        self._next_look = 0.0
        with contextlib.suppress(BlockingIOError):
            self._lock(wait=False)
            if self._fd is not None:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
        return self._known[0]

    def _write(self, fd: int, members: Sequence[str]) -> None:
        link = self._known[0]
        lines = ""
        for each in members:
            line, link = seal(each, link, self._hash)
            lines += line
        data = lines.encode("ascii")
        try:
            written = os.write(fd, data)
            while written < len(data):
                written += os.write(fd, data[written:])
        except BaseException:
            self._undo(fd)
            raise
        # In this order: a thread that is interrupted here finds the size wrong, and learns it from the file.
        size = self._size + len(data)
        self._known = (link, size)
        self._size = size

    def _undo(self, fd: int) -> None:
        """Take back a write that did not fit; what cannot be taken back is mended by the next append."""
        try:
            os.ftruncate(fd, self._size)
        except OSError:
            self._size = -1

    def _lock(self, *, wait: bool = True) -> int:
        """Lock the file that has the name now, learn its end and return it."""
        if self._fault is not None:
            self._resume()
        try:
            return self._lock_named(fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except TamperedError as error:
            self._note_fault(Fault(str(error), self._known[0], self._accepted))
        # Unless an operator has accepted already what this process finds only now.
        self._resume()
        return self._lock(wait=wait)

    def _lock_named(self, operation: int) -> int:
        while True:
            fd = self._fd if self._fd is not None else self._open()
            fcntl.flock(fd, operation)
            try:
                status = os.fstat(fd)
                if status.st_size != self._size:
                    self._catch_up(fd, status.st_size)
                else:
                    check_known(fd, self._size, self.path, self._known)
                now = time.monotonic()
                # Whoever replaces the file ends it first, which `_catch_up` sees; this is about files that were moved.
                if now < self._next_look and status.st_nlink and not self._ended:
                    return fd
                if self._look_around(fd, status):
                    self._next_look = now + _LOOK_SECONDS
                    return fd
            except BaseException:
                fcntl.flock(fd, fcntl.LOCK_UN)
                raise
            self.close()

    def _look_around(self, fd: int, status: os.stat_result) -> bool:
        """Return whether the file is the one to write to; end it when it was moved away."""
        if (fault := read_fault(self.path)) is not None:
            if fault.accepted >= self._accepted:
                # Another process noticed what this one has no part in.
                raise TamperedError(fault.reason)
            forget_fault(self.path)  # written while an operator accepted it
        there = self._in_place()
        if there is not None and (there.st_dev, there.st_ino) == self._inode:
            return True
        if self._ended:
            return False
        if not status.st_nlink:
            what = "was removed" if there is None else "was replaced by another file"
            raise TamperedError(f"{self.path} {what}, and what it held is gone")
        if there is not None and there.st_size:
            raise TamperedError(f"{self.path} was replaced by another file, and the one that was written to was moved")
        log.warning("%s was moved away; a new file continues it", self.path)
        self._end(fd, None)
        os.fdatasync(fd)
        return False

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_APPEND
        if self._before is None or self._before.moved:
            flags |= os.O_CREAT
        try:
            fd = open_regular(self.path, flags, FILE_MODE)
        except FileNotFoundError:
            if flags & os.O_CREAT:
                raise
            raise TamperedError(f"{self.path} was removed") from None
        self._adopt(fd)
        return fd

    def _adopt(self, fd: int) -> None:
        status = os.fstat(fd)
        inode = (status.st_dev, status.st_ino)
        if inode != self._inode:
            self._read = False
        elif self._read:
            self._before = None
        self._fd, self._inode, self._size, self._next_look = fd, inode, -1, 0.0

    def _in_place(self) -> os.stat_result | None:
        try:
            return self.path.stat()
        except FileNotFoundError:
            return None

    def _ancestor(self) -> Ancestor | None:
        """Return what this process knows of the file that it leaves; None when it has read nothing."""
        if not self._read:
            return self._before
        return Ancestor(self._inode, *self._known, self._first.get("file", 1), self._accepted, self._moved)

    def _catch_up(self, fd: int, size: int) -> None:
        """Learn the last line of a file that is not as this process left it."""
        if self._read:
            end = follow_end(fd, size, self.path, self._known, self._hash)
        elif not _has_a_line(fd, size):
            # Empty, or its first line is torn: no token ever left for what stands there.
            if self._before is not None and not self._before.moved:
                raise TamperedError(f"{self.path} is empty")
            os.ftruncate(fd, 0)
            self._size = 0
            self._begin(fd)
            return
        else:
            end = self._read_file(fd, size)
        if end.torn:
            os.ftruncate(fd, end.size)
        self._known = (end.link, end.size)
        self._size = end.size
        self._read, self._before = True, None
        if end.last:
            self._ended = end.last["type"] == "end"
            self._moved = self._ended and end.last.get("name") is None
        if end.torn:
            log.warning(
                "%s ended in a torn line of %d bytes, which no token had left for; it is cut off", self.path, end.torn
            )
            details = {"kind": "audit.mended", "time": utc_text(datetime.now(UTC)), "details": {"bytes": str(end.torn)}}
            if not self._ended:
                self._write(fd, [encode({"type": "event", **details})])

    def _begin(self, fd: int) -> None:
        """Write the first line of an empty file; what this process wrote last to one that was moved goes on."""
        self._start_day(time.time())
        self._first = self._first_line(self._known[0], None)
        self._ended = self._moved = False
        try:
            self._write(fd, [encode(self._first)])
        except BaseException:
            self._size = -1  # what comes next must begin the file, and not stand in an empty one
            raise
        self._read, self._before = True, None
        sync_folder(self.path.parent)

    def _read_file(self, fd: int, size: int) -> End:
        """Return the end of a file that this process has not read; it must descend from what the process knows."""
        try:
            first = read_first(fd, self.path, self._hash, keyed=self._keyed)
            end = read_end(fd, size, self.path, first, self._hash)
        except BrokenChainError as error:
            if self._before is None:
                raise
            raise TamperedError(str(error)) from None
        if self._before is not None and not descends(*first, self._before, self.path.parent):
            raise TamperedError(f"{self.path} was replaced by a file that does not continue what was written")
        self._first = first[0]
        self._start_day(datetime.fromisoformat(self._first["time"]).timestamp())
        return end

    def recall_fault(self) -> None:
        """Heed a fault that was noted before this process began."""
        if (fault := read_fault(self.path)) is not None:
            self._fault = fault

    def _note_fault(self, fault: Fault) -> None:
        """Remember a fault, and let go of the file."""
        remembered = None
        with contextlib.suppress(OSError):
            remembered = read_fault(self.path)
        if remembered is not None and remembered.accepted < fault.accepted:
            forget_fault(self.path)  # written while an operator accepted it
            remembered = None
        self._fault, self._next_retry = remembered or fault, 0.0
        self.close()

    def _resume(self) -> None:
        """Forget the fault when an operator has accepted it; raises TamperedError when not."""
        fault = self._fault
        assert fault is not None  # noqa: S101 - the caller has looked
        now = time.monotonic()
        if now >= self._next_retry:
            self._next_retry = now + _LOOK_SECONDS
            if self._accepted_in_place() > fault.accepted:
                log.warning("%s: an operator has accepted what is there; tokens are issued again", self.path)
                forget_fault(self.path)
                self._fault = self._before = None
                self._known, self._inode, self._first = (Link(), 0), (0, 0), {}
                self._ended = self._moved = self._read = False
                return
            if read_fault(self.path) is None:
                log.critical("%s", fault.error(self.path))
                write_fault(self.path, fault)
        raise fault.error(self.path)

    def _accepted_in_place(self) -> str:
        """Return the time of the last acceptance in the file that has the name; "" when there is none."""
        try:
            fd = open_regular(self.path)
        except OSError:
            return ""
        try:
            return str(read_first(fd, self.path, self._hash, keyed=self._keyed)[0].get("accepted", ""))
        except (OSError, BrokenChainError):
            return ""
        finally:
            os.close(fd)

    def _end(self, fd: int, name: str | None) -> None:
        """Write the last line of a file, after which nobody adds to it."""
        self._write(fd, [encode({"type": "end", "time": utc_text(datetime.now(UTC)), "name": name})])
        self._ended, self._moved = True, name is None

    def _start_day(self, moment: float) -> None:
        if self._daily:
            self._day_ends = (moment // _DAY_SECONDS + 1) * _DAY_SECONDS

    def _first_line(self, before: Link, previous_file: str | None, accepted: str = "") -> dict[str, Any]:
        accepted = accepted or self._accepted
        return {
            "type": "file",
            "version": FORMAT_VERSION,
            "time": utc_text(datetime.now(UTC)),
            "file": int(self._first.get("file", 0)) + 1,
            "keyed": self._keyed,
            "previous": before.digest,
            "previous_file": previous_file,
            **({"accepted": accepted} if accepted else {}),
        }


def write_all(fd: int, data: bytes) -> None:
    """Write all of it."""
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, data[written:])


def give_to_owner(fd: int, status: os.stat_result) -> None:
    """Let a new file belong to whom the old one does, when root accepts or serves."""
    if os.geteuid() == 0:
        os.fchown(fd, status.st_uid, status.st_gid)


def _has_a_line(fd: int, size: int) -> bool:
    at = 0
    while at < size and (data := os.pread(fd, 65_536, at)):
        if b"\n" in data:
            return True
        at += len(data)
    return False
