"""Adds files to a state directory: one walk, one hash of each file, one request to the authority."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from tsa_core.evidence.errors import EvidenceError
from tsa_core.evidence.hash_tree import HashTree, build_nodes, node_hash
from tsa_core.evidence.making import Stamp, token_of
from tsa_core.evidence.objects import usable_hash
from tsa_core.evidence.state.batch import Batch, StoredChain, StoredTimestamp
from tsa_core.evidence.state.completeness import link
from tsa_core.evidence.state.directory import StateDirectory
from tsa_core.evidence.state.files import settle, write_new
from tsa_core.evidence.state.hashing import Hashed, SortedLeaves, hash_files, walk
from tsa_core.evidence.state.manifest import Entry, encode_line
from tsa_core.evidence.state.objects import groups
from tsa_core.protocol.hashes import HashAlgorithm

Progress = Callable[[int, int], None]
"""Told how many files and bytes are done."""


@dataclass(frozen=True, kw_only=True)
class AddedBatch:
    """A new batch; `leaves` are different objects or groups, `skipped` what is no file, with the reason."""

    batch: Batch
    leaves: int
    octets: int
    skipped: tuple[tuple[str, str], ...]


def add_files(
    state: StateDirectory,
    paths: Sequence[str],
    stamp: Stamp,
    *,
    hash_name: str = "sha256",
    group_by: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> AddedBatch:
    """Hash files and folders, get one timestamp for all, and keep what proves each; raises EvidenceError.

    With `group_by` "folder", the files of a folder are one data group. A file that cannot be read is an error, and then
    nobody is asked for a timestamp. `workers` is the number of CPUs unless given.
    """
    algorithm = usable_hash(hash_name)
    skipped: list[tuple[str, str]] = []
    octets = 0

    def counted(files: int, done: int) -> None:
        nonlocal octets
        octets = done
        if progress is not None:
            progress(files, done)

    with state.locked(), state.new_folder() as folder:
        files = walk(map(_plain, paths), lambda path, reason: skipped.append((path, reason)))
        hashed = _entries(hash_files(files, [algorithm], workers=workers or os.cpu_count() or 1, progress=counted))
        leaves, count = write_objects(folder / "1.objects", hashed, algorithm, grouped=group_by is not None)
        if not count:
            raise EvidenceError("there is no file to make evidence for")
        number, before = state.next_number(), state.newest()
        text = link(number, before)
        leaves.add(algorithm.digest(text))
        write_new(folder / "1.link", text)
        tree = write_tree(folder / "1.tree", algorithm, leaves)
        root = tree.root
        write_new(folder / "1-1.token", token_of(stamp(algorithm, root), algorithm, root))
        Batch(
            folder=folder,
            created=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            base=str(Path.cwd()),
            group_by=group_by,
            objects=count,
            link="1.link",
            chains=(
                StoredChain(
                    hash_name=algorithm.name,
                    objects="1.objects",
                    tree="1.tree",
                    leaves=tree.count,
                    timestamps=(StoredTimestamp(token="1-1.token"),),  # noqa: S106 - the name of a file
                ),
            ),
        ).save()
        done = Batch.read(folder)
    return AddedBatch(
        batch=replace(done, folder=state.folder_of(number)),
        leaves=tree.count - 1,
        octets=octets,
        skipped=tuple(skipped),
    )


def _plain(path: str) -> str:
    """Return how an object's name begins: relative to the working folder, absolute for what is outside."""
    plain = os.path.normpath(path)
    return os.path.abspath(plain) if plain.startswith("..") else plain  # noqa: PTH100 - text in, text out


def _entries(hashed: Iterable[Hashed]) -> Iterator[Entry]:
    for each in hashed:
        if each.error is not None:
            raise EvidenceError(f"{each.path} cannot be read: {each.error.strerror}; nothing was stamped")
        yield Entry(each.path.removeprefix("./"), each.digests[0])


def write_objects(
    path: Path, entries: Iterable[Entry], algorithm: HashAlgorithm, *, grouped: bool
) -> tuple[SortedLeaves, int]:
    """Write the list of a chain's objects; return the leaves of its tree and the number of objects."""
    leaves, count = SortedLeaves(algorithm.digest_size), 0
    with path.open("wb", buffering=1 << 20) as file:
        for members in groups(entries, grouped=grouped):
            for name, digest in members:
                file.write(encode_line(name, digest))
            count += len(members)
            leaves.add(node_hash(algorithm, {digest for _, digest in members}))
        settle(file)
    return leaves, count


def write_tree(path: Path, algorithm: HashAlgorithm, leaves: SortedLeaves) -> HashTree:
    """Write the tree over these leaves, and return it."""
    ordered = leaves.sorted()
    count = len(ordered) // algorithm.digest_size
    tree = HashTree(algorithm, build_nodes(algorithm, ordered), count)
    write_new(path, tree.nodes)
    return tree
