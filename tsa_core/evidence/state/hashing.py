"""Walks folders and hashes files, many at a time, in the order in which they were found.

hashlib releases the interpreter while it hashes, so that threads use several CPUs; reading does, too.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Final, NamedTuple

from tsa_core.protocol.hashes import HashAlgorithm

CHUNK_OCTETS: Final = 1 << 20
FILES_AT_ONCE: Final = 256
"""Files of one task at most: a task for each small file would cost more than hashing it."""
OCTETS_AT_ONCE: Final = 32 << 20
"""What a task should read, so that large files are shared among the threads."""


class Hashed(NamedTuple):
    """A file with its digests, in the order of the algorithms; or why it cannot be read."""

    path: str
    digests: tuple[bytes, ...]
    octets: int
    error: OSError | None = None


def walk(paths: Iterable[str], skipped: Callable[[str, str], None]) -> Iterator[str]:
    """Yield every regular file of files and folders, each folder's files together and in order.

    Links to files are followed, links to folders are not. `skipped` is told what is neither, with a reason. A folder
    that cannot be read is yielded itself: whoever reads it finds out.
    """
    for path in paths:
        if os.path.isdir(path):  # noqa: PTH112 - text in, text out: pathlib costs too much for a million files
            yield from _folder(path, skipped)
        else:
            yield path


def _folder(path: str, skipped: Callable[[str, str], None]) -> Iterator[str]:
    folders: list[str] = []
    try:
        with os.scandir(path) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:
        yield path
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            folders.append(entry.path)
        elif entry.is_file(follow_symlinks=False) or os.path.isfile(entry.path):  # noqa: PTH113 - as above
            yield entry.path
        else:
            skipped(entry.path, "it is a link to a folder, a broken link or no regular file")
    for folder in folders:
        yield from _folder(folder, skipped)


def hash_files(
    paths: Iterable[str],
    algorithms: Sequence[HashAlgorithm],
    *,
    workers: int,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Hashed]:
    """Yield each file with its digests, in the order of `paths`, of which few are held at a time.

    `progress` is called with files and bytes that are done.
    """
    source = iter(paths)
    waiting: deque[Future[list[Hashed]]] = deque()
    files = octets = 0
    with ThreadPoolExecutor(workers, thread_name_prefix="hash") as pool:
        try:
            while True:
                while len(waiting) < 2 * workers and (some := list(islice(source, files_at_once(files, octets)))):
                    waiting.append(pool.submit(_hash_some, some, algorithms))
                if not waiting:
                    return
                results = waiting.popleft().result()
                files, octets = files + len(results), octets + sum(result.octets for result in results)
                if progress is not None:
                    progress(files, octets)
                yield from results
        finally:
            for future in waiting:
                future.cancel()


def files_at_once(files: int, octets: int) -> int:
    """Return how many files the next task gets, after so many files with so many bytes; few, until that is known."""
    if not files:
        return 4
    average = octets // files
    return max(1, min(FILES_AT_ONCE, OCTETS_AT_ONCE // average if average else FILES_AT_ONCE))


def _hash_some(paths: Sequence[str], algorithms: Sequence[HashAlgorithm]) -> list[Hashed]:
    return [hash_file(path, algorithms) for path in paths]


def hash_file(path: str, algorithms: Sequence[HashAlgorithm]) -> Hashed:
    """Return a regular file with its digests, or with its error."""
    octets = 0
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe must not be waited for
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(0, "it is no regular file")
            states = [algorithm.new() for algorithm in algorithms]
            while chunk := os.read(descriptor, CHUNK_OCTETS):
                octets += len(chunk)
                for state in states:
                    state.update(chunk)
        finally:
            os.close(descriptor)
    except OSError as error:
        return Hashed(path, (), octets, error)
    return Hashed(path, tuple([state.digest() for state in states]), octets)


class SortedLeaves:
    """Collects hash values in little memory, about their own size, and gives them back sorted, each once."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._buckets = [bytearray() for _ in range(256)]  # by the first octet, which a hash spreads evenly

    def add(self, value: bytes) -> None:
        """Add one value."""
        self._buckets[value[0]] += value

    def sorted(self) -> bytearray:
        """Return all values in order; nothing can be added afterwards."""
        size, leaves = self._size, bytearray()
        while self._buckets:
            bucket = bytes(self._buckets.pop(0))
            values = sorted({bucket[start : start + size] for start in range(0, len(bucket), size)})
            leaves += b"".join(values)
        return leaves
