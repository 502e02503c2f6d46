"""Reading many files for their digests."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from tsa_core.cli.timestamp.files import STANDARD
from tsa_core.cli.timestamp.many.item import Item
from tsa_core.protocol.hashes import HashAlgorithm
from tsa_core.verify import hash_artifact


class Unreadable(Exception):
    """A file cannot be read, or changed while it was."""


@contextmanager
def opened(item: Item) -> Iterator[BinaryIO]:
    """Open a file for reading all of it; raises Unreadable at any time, also at the end for one that changed."""
    if item.problem is not None:
        raise Unreadable(item.problem)
    if item.name == STANDARD:
        yield sys.stdin.buffer
        return
    try:
        # Without O_NONBLOCK, a pipe that took the file's place would be waited for.
        descriptor = os.open(item.name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb", buffering=0) as file:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise Unreadable("is not a file any more")
            yield file
            after = os.fstat(descriptor)
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from None
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise Unreadable("changed while it was read")


def read_whole(name: str, limit: int) -> bytes:
    """Return what is in a file of at most `limit` octets; raises OSError, also for a pipe, which is not waited for."""
    with open(name, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", name)
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"it has more than {limit:,} bytes", name)
    return data


def digest_of(item: Item, algorithm: HashAlgorithm) -> tuple[bytes, int | None]:
    """Return the digest of a file and its size, None where it is not known; raises Unreadable."""
    if item.digest is not None:
        return item.digest, None
    with opened(item) as file:
        digest = hash_artifact(file, algorithm)
        size = None if item.name == STANDARD else os.fstat(file.fileno()).st_size
    return digest, size
