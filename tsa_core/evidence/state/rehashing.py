"""Reads the files of a batch again, with any number of hashes, and compares them with the batch's list."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tsa_core.evidence.state.adding import Progress
from tsa_core.evidence.state.batch import Batch
from tsa_core.evidence.state.hashing import hash_files
from tsa_core.evidence.state.manifest import Entry
from tsa_core.evidence.state.objects import groups
from tsa_core.protocol.hashes import HashAlgorithm


@dataclass(frozen=True)
class Rehashing:
    """How files are read again: below which folder, how many at once, and who is told."""

    base: str
    workers: int
    progress: Progress | None


def rehashed_groups(
    batch: Batch, algorithms: Sequence[HashAlgorithm], files: Rehashing
) -> Iterator[Sequence[tuple[str, dict[str, bytes], str]]]:
    """Yield the objects of a batch, each alone or with its data group, read again in the order of the list.

    Each is its name, its digests by the hashes' names, and what is wrong with the file, empty for nothing.
    """
    entries = batch.entries(0)
    expected: deque[Entry] = deque()
    details: deque[tuple[dict[str, bytes], str]] = deque()

    def paths() -> Iterator[str]:
        for entry in entries:
            expected.append(entry)
            yield os.path.join(files.base, entry.name)  # noqa: PTH118 - a million of them

    def results() -> Iterator[Entry]:
        for each in hash_files(paths(), algorithms, workers=files.workers, progress=files.progress):
            entry = expected.popleft()
            digests = dict(zip((algorithm.name for algorithm in algorithms), each.digests, strict=False))
            problem = ""
            if each.error is not None:
                problem = each.error.strerror or str(each.error)
            elif digests[batch.chains[0].hash_name] != entry.digest:
                problem = "it has changed since it was stamped"
            details.append((digests, problem))
            yield entry

    for members in groups(results(), grouped=batch.group_by is not None):
        yield [(entry.name, *details.popleft()) for entry in members]
