"""What a record is about: data objects, and groups of them that belong together (RFC 4998 4.2)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tsa_core.evidence.errors import EvidenceError
from tsa_core.protocol.hashes import HashAlgorithm, hash_by_name

CHUNK_OCTETS: Final = 1 << 20

Digests = Mapping[str, bytes]
"""The digests of one object by the hashes' names, for what was hashed elsewhere."""
DataObject = bytes | os.PathLike[str] | Digests
"""One document: its bytes, the path of a file, or its digests."""


@dataclass(frozen=True, slots=True)
class DataGroup:
    """Documents that one hash stands for: a record proves all of them, and that there are no others."""

    members: tuple[DataObject, ...]

    def __post_init__(self) -> None:
        if not self.members:
            raise EvidenceError("a data group needs at least one document")


def members_of(item: DataObject | DataGroup) -> tuple[DataObject, ...]:
    """Return the documents of a group, or the one document."""
    return item.members if isinstance(item, DataGroup) else (item,)


def digests(source: DataObject, algorithms: Iterable[HashAlgorithm]) -> dict[str, bytes]:
    """Return the digests of one object by the hashes' names; a file is read once, in chunks.

    Raises EvidenceError for a digest that was not given or has a wrong length, OSError for a file.
    """
    wanted = {algorithm.name: algorithm for algorithm in algorithms}
    if isinstance(source, Mapping):
        return {name: _given(source, algorithm) for name, algorithm in wanted.items()}
    if isinstance(source, bytes):
        return {name: algorithm.digest(source) for name, algorithm in wanted.items()}
    states = {name: algorithm.new() for name, algorithm in wanted.items()}
    with Path(source).open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK_OCTETS):
            for state in states.values():
                state.update(chunk)
    return {name: state.digest() for name, state in states.items()}


def _given(source: Digests, algorithm: HashAlgorithm) -> bytes:
    value = source.get(algorithm.name)
    if value is None:
        raise EvidenceError(f"the {algorithm.name} digest of the object is needed and was not given")
    if len(value) != algorithm.digest_size:
        raise EvidenceError(f"a {algorithm.name} digest has {algorithm.digest_size} bytes, {len(value)} were given")
    return value


def usable_hash(name: str) -> HashAlgorithm:
    """Return a hash for new trees by its name; EvidenceError for an unknown or weak one."""
    try:
        algorithm = hash_by_name(name)
    except KeyError:
        raise EvidenceError(f"{name!r} is not a hash algorithm; use sha256, sha512 or sha3-256") from None
    if algorithm.weak:
        raise EvidenceError(f"{algorithm.name} is too weak for an evidence record; use sha256, sha512 or sha3-256")
    return algorithm
