"""Files that operators name: read within a time limit, and keys among them kept private."""

from __future__ import annotations

import errno
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from io import FileIO
from pathlib import Path
from typing import Final, TypeVar

from tsa_core.api.errors import ConfigError, UnavailableError
from tsa_core.api.time_limit import Overdue, within_limit

log = logging.getLogger(__name__)

T = TypeVar("T")

FILE_SECONDS: Final = 10.0
"""How long a file may take, whatever it is: a file system that hangs must not stop a server that wants to reload."""


_noted: ContextVar[set[Path] | None] = ContextVar("noted_files", default=None)


@contextmanager
def noting_files() -> Iterator[set[Path]]:
    """Collect the files of keys and secrets that are read inside, also those that cannot be."""
    outer, files = _noted.get(), set[Path]()
    token = _noted.set(files)
    try:
        yield files
    finally:
        _noted.reset(token)
        if outer is not None:
            outer |= files


def note_file(path: Path) -> None:
    """Add a file to those that are collected, if they are."""
    if (files := _noted.get()) is not None:
        files.add(path)


def unless_it_hangs(call: Callable[[], T], what: str, path: Path) -> T:
    """Return `call()`, which reads `path`; raises UnavailableError when it takes longer than FILE_SECONDS.

    Else raises what `call` does, and ConfigError for an OSError. `what` is what should be in the file.
    """
    try:
        return within_limit(call, seconds=FILE_SECONDS, name="read-file")
    except Overdue:
        raise UnavailableError(
            f"the {what} cannot be read: nothing came within {FILE_SECONDS:g} s; is it a FIFO, or does its file system "
            "hang?",
            path=str(path),
        ) from None
    except OSError as error:
        raise ConfigError(
            f"the {what} cannot be read: {error.strerror}{_remedy(error, path)}", path=str(path)
        ) from None


def _remedy(error: OSError, path: Path) -> str:
    if error.errno == errno.ENOENT:
        return "" if path.is_absolute() else f"; it was looked for in {Path.cwd()}"
    if error.errno == errno.EACCES:
        return "; let the user who runs this read it, and pass through the directories above it"
    return "; name the file itself" if error.errno == errno.EISDIR else ""


def read_file(path: Path, what: str, *, limit: int, private: bool = False) -> bytes:
    """Return the bytes of a file that the operator has named, and `limit` bytes at the most.

    `what` is what should be in it, in the operator's words: "private key". A wrong path, to a disk image or a device,
    fills no memory. A `private` one, of a password for example, is warned of when others may read it. Raises
    ConfigError when the file cannot be read or is larger, UnavailableError when it takes too long.
    """

    def read() -> bytes:
        with _open(path) as stream:
            data = b""
            while len(data) <= limit and (more := stream.read(limit + 1 - len(data))):
                data += more
            _check_fifo(stream, len(data), what, path)
            if private:
                _warn_of_readers(os.fstat(stream.fileno()), what, path)
            return data

    data = unless_it_hangs(read, what, path)
    if len(data) > limit:
        raise ConfigError(f"the file is larger than any {what} ({limit // 1024} KiB)", path=str(path))
    return data


def why_not_writable(folder: Path) -> str:
    """Return why no file can be made in a folder, which may have to be made first; empty when one can.

    Asks the system and changes nothing, for what a provider opens instead when `timestamp-server check` asks it to.
    """
    there = folder
    while not there.exists() and there.parent != there:
        there = there.parent
    if not there.is_dir():
        return f"{there} is no directory"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"nothing can be written in {there}"
    try:
        room = os.statvfs(there)
    except OSError as error:
        return f"{there}: {error.strerror}"
    return "" if room.f_bavail or not room.f_blocks else f"the disk of {there} is full"


@contextmanager
def key_file(path: Path, what: str, *, limit: int) -> Iterator[bytearray]:
    """Read a file as `read_file` does, into a buffer that is overwritten with zeros at the end of the block.

    Whoever copies the buffer, by a slice for example, overwrites the copy. A file that others may read is warned of.
    """
    # Not one buffer that is made shorter: that may move what it holds, and leave a copy behind.
    room, data = bytearray(limit + 1), bytearray()
    over = threading.Event()

    note_file(path)

    def read() -> int:
        with _open(path) as stream, memoryview(room) as view:
            length = 0
            while length < len(view) and (octets := stream.readinto(view[length:])):
                length += octets
            if over.is_set():
                view[:] = bytes(len(view))
            _check_fifo(stream, length, what, path)
            _warn_of_readers(os.fstat(stream.fileno()), what, path)
            return length

    try:
        length = unless_it_hangs(read, what, path)
        data = bytearray(memoryview(room)[:length])
        if length > limit:
            raise ConfigError(f"the file is larger than any {what} ({limit // 1024} KiB)", path=str(path))
        yield data
    finally:
        over.set()
        room[:] = bytes(len(room))
        data[:] = bytes(len(data))


def _open(path: Path) -> FileIO:
    """Open a file to read; a FIFO without waiting for somebody to write to it."""
    no_wait = getattr(os, "O_NONBLOCK", 0)
    stream = FileIO(path, opener=lambda name, flags: os.open(name, flags | no_wait))
    os.set_blocking(stream.fileno(), True)
    return stream


def _check_fifo(stream: FileIO, length: int, what: str, path: Path) -> None:
    if not length and stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode):
        raise ConfigError(f"the {what} cannot be read: it is a FIFO that nobody writes to", path=str(path))


def _warn_of_readers(found: os.stat_result, what: str, path: Path) -> None:
    """Warn when others than this process's user may read a key or another secret.

    A file of somebody else that this process may read by its group alone is as private as it can be: Kubernetes mounts
    Secrets like that, as root's with mode 0440 and the group of `fsGroup`. So is root's for root: the server may be
    a user who reads it by its group, as `init --for systemd` arranges it.
    """
    if not stat.S_ISREG(found.st_mode):
        return
    mode = stat.S_IMODE(found.st_mode)
    mine = found.st_uid == os.geteuid()
    root = mine and found.st_uid == 0
    by_group = root or (not mine and found.st_gid in {os.getegid(), *os.getgroups()})
    if mode & (stat.S_IRWXG | stat.S_IRWXO) & ~(stat.S_IRGRP if by_group else 0):
        private = "440" if by_group and not root else "640" if root and found.st_gid else "600"
        log.warning("the %s %s is open to other users (mode %04o); chmod %s %s", what, path, mode, private, path)
