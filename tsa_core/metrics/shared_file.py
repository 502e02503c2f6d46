"""A process's values in a file that the others read; in place of the class that prometheus_client has for that.

prometheus_client maps files with holes. On a full disk a write into a hole ends the process (SIGBUS), and a file that
cannot be made is an error wherever something is counted. Here the blocks of a file are written before it is mapped,
and values that find no room are kept in memory until there is some (decision 201).
"""

from __future__ import annotations

import logging
import mmap
import os
import struct
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import ClassVar

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

log = logging.getLogger(__name__)

_FIRST_OCTETS = 4096
_PAUSE_SECONDS = 2.0
"""Between two tries to find room."""
_EXPIRES_SECONDS = 3 * _PAUSE_SECONDS
_TIME = struct.Struct("=d")


class Room:
    """Whether all processes find room for their values; in memory that those share that are forked later."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _TIME.size)

    def note_want(self) -> bool:
        """Note that this process finds none; returns whether none had for a while."""
        first = self.enough
        _TIME.pack_into(self._memory, 0, monotonic())
        return first

    @property
    def enough(self) -> bool:
        """Say whether none has been without room within the last seconds."""
        last: float = _TIME.unpack_from(self._memory, 0)[0]
        return not last or monotonic() - last > _EXPIRES_SECONDS


ROOM = Room()
"""Made when the parent of the processes imports this module."""


class _Allocated(MmapedDict):
    """prometheus_client's file without holes; raises OSError when there is no room for one more value."""

    def __init__(self, path: Path) -> None:
        _create(path)
        self._path = path
        super().__init__(str(path))  # type: ignore[no-untyped-call] # the library lacks its types

    def has(self, key: str) -> bool:
        """Say whether a value is in the file."""
        return key in self._positions

    def reserve(self, key: str) -> None:
        """Make room for a value; raises OSError."""
        if key in self._positions:
            return
        octets = len(key.encode()) + 32  # its length, blanks that align it, value and time
        capacity: int = self._capacity
        while self._used + octets > capacity:
            capacity *= 2
        if capacity > self._capacity:
            _fill(self._path, self._capacity, capacity)


class SharedFile:
    """The values of one kind of metric of this process. For one thread at a time, as MmapedDict is."""

    _without_room: ClassVar[set[SharedFile]] = set()

    def __init__(self, filename: str) -> None:
        self._path = Path(filename)
        self._file: _Allocated | None = None
        self._here: dict[str, tuple[float, float]] = {}
        """Values without room, and their times."""
        self._next_try = 0.0

    def read_value(self, key: str) -> tuple[float, float]:
        """Return a value and its time; 0 and 0 for a new one."""
        file = self._file_for(key)
        if file is None:
            return self._here.setdefault(key, (0.0, 0.0))
        found: tuple[float, float] = file.read_value(key)  # type: ignore[no-untyped-call] # the library lacks its types
        return found

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        """Keep a value and its time."""
        file = self._file_for(key)
        if file is None:
            self._here[key] = value, timestamp
        else:
            file.write_value(key, value, timestamp)  # type: ignore[no-untyped-call] # the library lacks its types

    def close(self) -> None:
        """Close the file; may be called more than once."""
        self._without_room.discard(self)
        if self._file is not None:
            self._file.close()  # type: ignore[no-untyped-call] # the library lacks its types

    def _file_for(self, key: str) -> _Allocated | None:
        """Return the file when a value has room in it."""
        if self not in self._without_room or monotonic() >= self._next_try:
            try:
                return self._make_room(key)
            except OSError as error:
                self._note_want(error)
        return self._file if self._file is not None and self._file.has(key) else None

    def _make_room(self, key: str) -> _Allocated:
        """Make room for a value and for those that wait; raises OSError."""
        file = self._file = self._file or _Allocated(self._path)
        file.reserve(key)
        for waiting in list(self._here):
            file.reserve(waiting)
            file.write_value(waiting, *self._here.pop(waiting))  # type: ignore[no-untyped-call] # as above
        if self in self._without_room:
            self._without_room.discard(self)
            if not self._without_room:
                log.info("there is room for the metrics of this process in %s again", self._path.parent)
        return file

    def _note_want(self, error: OSError) -> None:
        self._without_room.add(self)
        self._next_try = monotonic() + _PAUSE_SECONDS
        if ROOM.note_want():
            log.warning(
                "there is no room for the metrics of a process in %s: %s; it keeps them in memory, where the others do "
                "not see them, and tries again (TMPDIR names another directory)",
                self._path.parent,
                error.strerror or error,
            )


def use_shared_files() -> None:
    """Let prometheus_client keep what processes share in these files; before the first metric is made."""
    values.MmapedDict = SharedFile  # type: ignore[assignment,attr-defined] # not exported; it calls no more of it than is here


def _create(path: Path) -> None:
    """Make a file that another process may read at any time, unless there is one; raises OSError."""
    with suppress(FileNotFoundError):
        if path.stat().st_size:
            return
    path.parent.mkdir(mode=0o700, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    new.touch()
    try:
        _fill(new, 0, _FIRST_OCTETS)
        new.rename(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def _fill(path: Path, start: int, end: int) -> None:
    """Write zeros into a part of a file, so that its blocks are there; raises OSError, and leaves it as it was."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        position = start
        try:
            while position < end:
                position += os.pwrite(descriptor, bytes(end - position), position)
        except OSError:
            os.ftruncate(descriptor, start)
            raise
    finally:
        os.close(descriptor)
