"""The file that is written to: locked, appended to, mended after a crash, and followed by the next one.

Several processes may write to one file. Each append holds an flock: it looks at what others have written since, mends
a line that a crash tore, and adds its own lines in one write that is undone when it does not fit. A lock is per open
file, so a process that was forked must `forget` its parent's.

A file is rotated by giving it a second name, writing its last line, and putting a new file, whose first line says what
it continues, in its place; whoever finds the last line without a new file does the rest.
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

from tsa_audit_file.chain import (
    MAX_LINE_OCTETS,
    BrokenChainError,
    Link,
    begin_hash,
    check_line,
    encode,
    read_line,
    seal,
)

log = logging.getLogger(__name__)

FORMAT_VERSION: Final = 1
_FILE_MODE: Final = 0o600
_BLOCK: Final = 65_536
_DAY_SECONDS: Final = 86_400
_RETRY_SECONDS: Final = 60.0
"""How long a rotation that failed is left alone."""
_LOOK_SECONDS: Final = 1.0
"""How often to look whether the file still has its name; looking costs as much as writing a line does."""
_NEVER: Final = math.inf


def utc_text(moment: datetime) -> str:
    """Return a time as the files have it."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat(timespec="microseconds")[:26] + "Z"


class Journal:
    """The end of the chain, in a file that may be shared with other processes. For one thread at a time.

    Every method raises OSError as the system does, and BrokenChainError for a file that is not to be continued.
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
        self._day_ends = _NEVER
        self._first: dict[str, Any] = {}
        self._ended = False
        self._link = Link()
        self._suspect = False
        self._no_rotation_before = 0.0
        self._next_look = 0.0

    # -- appending ----------------------------------------------------------------------------------------------

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

    def close(self) -> None:
        """Let go of the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    forget = close

    def _write(self, fd: int, members: Sequence[str]) -> None:
        link = self._link
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
        # In this order: a thread that is interrupted here finds the size wrong, and learns both from the file.
        self._link = link
        self._size += len(data)

    def _undo(self, fd: int) -> None:
        """Take back a write that did not fit; what cannot be taken back is mended by the next append."""
        try:
            os.ftruncate(fd, self._size)
        except OSError:
            self._size = -1

    # -- the lock, and what others did --------------------------------------------------------------------------

    def _lock(self) -> int:
        """Lock the file that has the name now, learn its end and return it."""
        while True:
            fd = self._fd if self._fd is not None else self._open()
            fcntl.flock(fd, fcntl.LOCK_EX)
            try:
                status = os.fstat(fd)
                if status.st_size != self._size:
                    self._catch_up(fd, status.st_size)
                now = time.monotonic()
                # Whoever replaces the file ends it first, which `_catch_up` sees; this is about files that were moved.
                if now < self._next_look and status.st_nlink and not self._ended:
                    return fd
                if self._has_the_name():
                    self._next_look = now + _LOOK_SECONDS
                    return fd
                if not self._ended:
                    self._end(fd, None)
            except BaseException:
                fcntl.flock(fd, fcntl.LOCK_UN)
                raise
            self.close()

    def _open(self) -> int:
        fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, _FILE_MODE)
        self._adopt(fd)
        return fd

    def _adopt(self, fd: int) -> None:
        status = os.fstat(fd)
        self._fd, self._inode, self._size, self._next_look = fd, (status.st_dev, status.st_ino), -1, 0.0

    def _has_the_name(self) -> bool:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return False
        return (status.st_dev, status.st_ino) == self._inode

    def _catch_up(self, fd: int, size: int) -> None:
        """Learn the last line of a file that is not as this process left it."""
        data, start = _tail(fd, size)
        whole = data.rfind(b"\n") + 1
        torn = len(data) - whole
        if torn:
            os.ftruncate(fd, start + whole)
        self._size = start + whole
        if self._size == 0:
            self._begin(fd)
        else:
            self._read_ends(fd, data[:whole])
        if torn:
            log.warning(
                "%s ended in a torn line of %d bytes, which no token had left for; it is cut off", self.path, torn
            )
            details = {"kind": "audit.mended", "time": utc_text(datetime.now(UTC)), "details": {"bytes": str(torn)}}
            if not self._ended:
                self._write(fd, [encode({"type": "event", **details})])

    def _begin(self, fd: int) -> None:
        """Write the first line of an empty file; what this process wrote last to one that was moved goes on."""
        self._start_day(time.time())
        self._first = self._first_line(self._link, None)
        self._ended = False
        self._write(fd, [encode(self._first)])
        _sync_folder(self.path.parent)

    def _read_ends(self, fd: int, data: bytes) -> None:
        first_line = os.pread(fd, _BLOCK, 0).partition(b"\n")[0] + b"\n"
        try:
            first, first_link = read_line(first_line)
        except BrokenChainError as error:
            raise BrokenChainError(f"{self.path} is no audit file, or damaged at its beginning: {error}") from None
        if first["type"] != "file" or first.get("version") != FORMAT_VERSION:
            raise BrokenChainError(f"{self.path} does not begin as an audit file of version {FORMAT_VERSION} does")
        if first.get("keyed") is not self._keyed:
            wanted = "was begun with a key" if first.get("keyed") else "was begun without a key"
            raise BrokenChainError(f"{self.path} {wanted}; set or remove the key as it was, or move the file away")
        lines = data.split(b"\n")[-3:-1]
        before = Link(first_link.seq - 1, str(first["previous"]))
        try:
            if len(lines) == 2:
                before = read_line(lines[0] + b"\n")[1]
            last, link = check_line(lines[-1] + b"\n", before, self._hash)
        except BrokenChainError as error:
            raise BrokenChainError(
                f"the last line of {self.path} is damaged, or the key is another one: {error}; "
                "see `timestamp-server audit verify`, then move the file away"
            ) from None
        self._first, self._link, self._ended = first, link, last["type"] == "end"
        self._start_day(datetime.fromisoformat(first["time"]).timestamp())

    # -- rotation -----------------------------------------------------------------------------------------------

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

    def _next_file(self, fd: int) -> int:
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
        new = os.open(new_path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, _FILE_MODE)
        try:
            first = self._first_line(self._link, archived.name)
            line, link = seal(encode(first), self._link, self._hash)
            _write_all(new, line.encode("ascii"))
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
        self._link, self._first, self._ended, self._suspect = link, first, False, False
        self._size = len(line)
        self._start_day(time.time())
        _sync_folder(self.path.parent)
        return new

    def _end(self, fd: int, name: str | None) -> None:
        """Write the last line of a file, after which nobody adds to it."""
        self._write(fd, [encode({"type": "end", "time": utc_text(datetime.now(UTC)), "name": name})])
        self._ended = True

    def _archived_path(self) -> Path:
        """Return the name for the time after: in order of the files, and never used twice in one chain."""
        begun = datetime.fromisoformat(self._first["time"]).strftime("%Y%m%dT%H%M%SZ")
        number = self._first.get("file", 1)
        return self.path.with_name(f"{self.path.stem}-{number:06d}-{begun}{self.path.suffix}")

    def _start_day(self, moment: float) -> None:
        if self._daily:
            self._day_ends = (moment // _DAY_SECONDS + 1) * _DAY_SECONDS

    def _first_line(self, before: Link, previous_file: str | None) -> dict[str, Any]:
        return {
            "type": "file",
            "version": FORMAT_VERSION,
            "time": utc_text(datetime.now(UTC)),
            "file": int(self._first.get("file", 0)) + 1,
            "keyed": self._keyed,
            "previous": before.digest,
            "previous_file": previous_file,
        }


def _write_all(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, data[written:])


def _tail(fd: int, size: int) -> tuple[bytes, int]:
    """Return the end of a file, with the last two whole lines at least if it has them, and where it begins."""
    start = size
    data = b""
    # The newline before the last but one line, or the beginning.
    while start > 0 and data.count(b"\n") < 3:
        if size - start > 2 * MAX_LINE_OCTETS:
            raise BrokenChainError("the file has no lines at its end")
        step = min(_BLOCK, start)
        start -= step
        data = os.pread(fd, step, start) + data
    return data, start


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
