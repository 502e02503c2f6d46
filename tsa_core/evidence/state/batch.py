"""One batch of a state directory: objects that were stamped together, and everything that proves them.

Its folder holds `batch.json` and the files that it names; files of a chain begin with the chain's number.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from tsa_core.durable import replace_file
from tsa_core.evidence.errors import EvidenceError
from tsa_core.evidence.hash_tree import HashTree, node_hash
from tsa_core.evidence.making import renewed_value
from tsa_core.evidence.state.manifest import Entry, read_entries
from tsa_core.evidence.syntax import (
    ArchiveTimeStamp,
    ArchiveTimeStampChain,
    EvidenceRecord,
    PartialHashtree,
    encode_sequence,
)
from tsa_core.protocol.hashes import HashAlgorithm, hash_by_name

FORMAT: Final = 1
FILE: Final = "batch.json"
_MAX_LINK_OCTETS: Final = 1 << 12


class StateError(EvidenceError):
    """A state directory is not there, is damaged, or is of another format; the text says what to do."""


@dataclass(frozen=True, kw_only=True)
class StoredTimestamp:
    """A token's file, and the reduced hash tree of a renewal; None where the chain's tree has it, or none is needed."""

    token: str
    tree: tuple[PartialHashtree, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class StoredChain:
    """A chain: its hash, the list of its objects, its tree with so many leaves, and its timestamps."""

    hash_name: str
    objects: str
    tree: str
    leaves: int
    timestamps: tuple[StoredTimestamp, ...]

    @property
    def algorithm(self) -> HashAlgorithm:
        """The chain's hash."""
        return hash_by_name(self.hash_name)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch as its folder has it. `base` is where relative names of objects begin; `group_by` is `folder` or None.

    `link` is the file that names the batch before it; None in a batch of a version that wrote none.
    """

    folder: Path
    created: str
    base: str
    group_by: str | None
    objects: int
    chains: tuple[StoredChain, ...]
    link: str | None = None
    _trees: dict[int, HashTree] = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def hash_names(self) -> tuple[str, ...]:
        """The hashes of all chains, oldest first: what an object must be hashed with."""
        return tuple(dict.fromkeys(chain.hash_name for chain in self.chains))

    @classmethod
    def read(cls, folder: Path) -> Batch:
        """Read a batch; raises StateError."""
        try:
            document = json.loads((folder / FILE).read_bytes())
            if document["format"] != FORMAT:
                raise StateError(f"{folder} has the format {document['format']}; this version reads {FORMAT}")
            return cls(
                folder=folder,
                created=document["created"],
                base=document["base"],
                group_by=document["group_by"],
                objects=document["objects"],
                chains=tuple(map(_chain, document["chains"])),
                link=_file(document["link"]) if "link" in document else None,
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StateError(f"the batch {folder} cannot be read: {error!r}; restore it from a backup") from None

    def save(self) -> None:
        """Write `batch.json` anew: from then on, what it names counts."""
        document = {
            "format": FORMAT,
            "created": self.created,
            "base": self.base,
            "group_by": self.group_by,
            "objects": self.objects,
            "chains": [_chain_document(chain) for chain in self.chains],
        }
        if self.link is not None:
            document["link"] = self.link
        replace_file(self.folder / FILE, json.dumps(document, indent=1).encode())

    def link_text(self) -> bytes | None:
        """Return the text of its link to the batch before it, None when it has none; raises StateError."""
        if self.link is None:
            return None
        try:
            with (self.folder / self.link).open("rb") as file:
                return file.read(_MAX_LINK_OCTETS)
        except OSError as error:
            raise StateError(
                f"the link {self.folder / self.link} cannot be read: {error.strerror}; restore it from a backup"
            ) from None

    def token(self, name: str) -> bytes:
        """Return a token by the name of its file."""
        return _read(self.folder / name)

    @property
    def last_token(self) -> bytes:
        """The token that nothing covers yet."""
        return self.token(self.chains[-1].timestamps[-1].token)

    def tree(self, number: int) -> HashTree:
        """Return the tree of a chain, counted from 0; it stays on the disk. Raises StateError."""
        if number not in self._trees:
            chain = self.chains[number]
            path = self.folder / chain.tree
            try:
                with path.open("rb") as file:
                    nodes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                self._trees[number] = HashTree(chain.algorithm, nodes, chain.leaves)
            except (OSError, ValueError) as error:
                raise StateError(f"the hash tree {path} cannot be read: {error}; restore it from a backup") from None
        return self._trees[number]

    def entries(self, number: int) -> Iterator[Entry]:
        """Yield the list of a chain's objects, counted from 0; raises StateError for one that is damaged or cut off."""
        path, count = self.folder / self.chains[number].objects, 0
        try:
            for entry in read_entries(path):
                count += 1
                yield entry
        except (OSError, ValueError) as error:
            raise StateError(f"the list {path} cannot be read: {error}; restore it from a backup") from None
        if number == 0 and count != self.objects:
            raise StateError(f"the list {path} has {count} objects and not {self.objects}; restore it from a backup")

    def record(self, members: Sequence[Mapping[str, bytes]]) -> EvidenceRecord | None:
        """Return the record of an object, or of the members of a data group; None when the batch does not have it.

        `members` are digests by all of `hash_names`. An object that a hash tree renewal left out has its older chains.
        """
        chains: list[ArchiveTimeStampChain] = []
        for number, chain in enumerate(self.chains):
            algorithm = chain.algorithm
            values = {member[algorithm.name] for member in members}
            if number:
                older = algorithm.digest(encode_sequence(tuple(chains)))
                values = {renewed_value(algorithm, value, older) for value in values}
            tree = self.tree(number)
            leaf = tree.find(node_hash(algorithm, values))
            if leaf is None:
                break
            group = tuple(sorted(values)) if len(values) > 1 else None
            first, *later = chain.timestamps
            chains.append(
                (
                    self._timestamp(chain, first, tree.reduced(leaf, group)),
                    *(self._timestamp(chain, each, each.tree) for each in later),
                )
            )
        if not chains:
            return None
        algorithms = dict.fromkeys(chain.algorithm.identifier for chain in self.chains[: len(chains)])
        return EvidenceRecord(digest_algorithms=tuple(algorithms), chains=tuple(chains))

    def last_chain(self) -> ArchiveTimeStampChain:
        """Return the last chain's timestamps, without the tree of its first one."""
        chain = self.chains[-1]
        return tuple(self._timestamp(chain, each, each.tree) for each in chain.timestamps)

    def stored_timestamp(self, number: int, position: int) -> ArchiveTimeStamp:
        """Return a timestamp of a chain, both counted from 0; without a tree when it is the first of the chain."""
        chain = self.chains[number]
        return self._timestamp(chain, chain.timestamps[position], chain.timestamps[position].tree)

    def _timestamp(
        self, chain: StoredChain, stored: StoredTimestamp, tree: tuple[PartialHashtree, ...] | None
    ) -> ArchiveTimeStamp:
        return ArchiveTimeStamp(
            time_stamp=self.token(stored.token),
            digest_algorithm=chain.algorithm.identifier,
            reduced_hashtree=tree,
        )


@lru_cache(maxsize=256)
def _read(path: Path) -> bytes:
    """Return a token; its file never changes."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise StateError(f"the timestamp {path} cannot be read: {error.strerror}; restore it from a backup") from None


def _chain(document: Mapping[str, Any]) -> StoredChain:
    return StoredChain(
        hash_name=hash_by_name(document["hash"]).name,
        objects=_file(document["objects"]),
        tree=_file(document["tree"]),
        leaves=int(document["leaves"]),
        timestamps=tuple(
            StoredTimestamp(token=_file(each["token"]), tree=_tree(each.get("tree"))) for each in document["timestamps"]
        ),
    )


def _file(name: str) -> str:
    if "/" in name or name.startswith("."):
        raise ValueError(f"{name!r} is not the name of a file of the batch")
    return name


def _tree(lists: Sequence[Sequence[str]] | None) -> tuple[PartialHashtree, ...] | None:
    return tuple(tuple(map(bytes.fromhex, values)) for values in lists) if lists is not None else None


def _chain_document(chain: StoredChain) -> dict[str, Any]:
    timestamps: list[dict[str, Any]] = []
    for each in chain.timestamps:
        timestamps.append({"token": each.token})
        if each.tree is not None:
            timestamps[-1]["tree"] = [[value.hex() for value in values] for values in each.tree]
    return {
        "hash": chain.hash_name,
        "objects": chain.objects,
        "tree": chain.tree,
        "leaves": chain.leaves,
        "timestamps": timestamps,
    }
