"""The Merkle tree of RFC 6962 2.1, over SHA-256: roots, inclusion proofs and consistency proofs.

A tree is known by its complete subtrees: `hash_at(level, index)` is the hash of the leaves from index * 2**level to
(index + 1) * 2**level. Every other hash of a tree follows from at most 64 of these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

HASH_OCTETS: Final = 32
MAX_PATH: Final = 63
"""The longest proof: trees have fewer than 2**63 leaves."""
EMPTY_ROOT: Final = hashlib.sha256().digest()
"""The root of a tree without leaves."""

HashAt: TypeAlias = Callable[[int, int], bytes]


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf, 32 octets."""
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node, 32 octets."""
    return hashlib.sha256(b"\1" + left + right).digest()


def _split(size: int) -> int:
    """Return the largest power of two below `size`, which is 2 or more: how many leaves are in the left half."""
    return 1 << ((size - 1).bit_length() - 1)


def subtree_root(start: int, end: int, hash_at: HashAt) -> bytes:
    """Return the hash over the leaves from `start` to `end`, as they lie in a tree: `start` is a left edge."""
    size = end - start
    if size <= 0:
        return EMPTY_ROOT
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return hash_at(level, start >> level)
    middle = start + _split(size)
    return node_hash(subtree_root(start, middle, hash_at), subtree_root(middle, end, hash_at))


def tree_root(size: int, hash_at: HashAt) -> bytes:
    """Return the root of the tree of the first `size` leaves."""
    return subtree_root(0, size, hash_at)


def inclusion_path(index: int, size: int, hash_at: HashAt) -> list[bytes]:
    """Return the proof that leaf `index` is in the tree of `size` leaves (2.1.1), from the leaf's sibling up.

    Raises ValueError when the tree has no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(subtree_root(middle, end, hash_at))
            end = middle
        else:
            path.append(subtree_root(start, middle, hash_at))
            start = middle
    return path[::-1]


def consistency_path(old: int, size: int, hash_at: HashAt) -> list[bytes]:
    """Return the proof that the tree of `size` leaves begins with the tree of `old` leaves (2.1.2).

    It is empty when `old` is 0 or `size`. Raises ValueError when `old` is the larger one.
    """
    if not 0 <= old <= size:
        raise ValueError(f"a tree of {size} leaves does not begin with one of {old}")
    path: list[bytes] = []
    start, end, whole = 0, size, True
    while 0 < old - start < end - start:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(subtree_root(middle, end, hash_at))
            end = middle
        else:
            path.append(subtree_root(start, middle, hash_at))
            start, whole = middle, False
    if path and not whole:
        path.append(subtree_root(start, end, hash_at))
    return path[::-1]


def root_of_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """Return the root that a proof of inclusion leads to (RFC 9162 2.1.3.2); it is for the caller to compare.

    `leaf` is the leaf's hash, 32 octets. Raises ValueError when it is none, or a proof for this place has another
    length.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    if len(leaf) != HASH_OCTETS:
        raise ValueError(f"the hash of a leaf has {HASH_OCTETS} octets, not {len(leaf)}")
    node, last, root = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise ValueError("the proof of inclusion has too many hashes")
        if node & 1 or node == last:
            root = node_hash(sibling, root)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            root = node_hash(root, sibling)
        node >>= 1
        last >>= 1
    if last:
        raise ValueError("the proof of inclusion has too few hashes")
    return root


def is_consistent(old: int, old_root: bytes, size: int, root: bytes, path: Sequence[bytes]) -> bool:
    """Say whether a proof shows that the tree of `size` leaves begins with that of `old` leaves (RFC 9162 2.1.4.2).

    Every tree begins with the empty one, which an empty proof shows.
    """
    if not 0 <= old <= size:
        return False
    if old == size:
        return not path and old_root == root and (size > 0 or root == EMPTY_ROOT)
    if old == 0:
        return not path and old_root == EMPTY_ROOT
    hashes = list(path)
    if old & (old - 1) == 0:
        hashes.insert(0, old_root)
    if not hashes:
        return False
    node, last = old - 1, size - 1
    while node & 1:
        node >>= 1
        last >>= 1
    old_hash = new_hash = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old_hash = node_hash(sibling, old_hash)
            new_hash = node_hash(sibling, new_hash)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            new_hash = node_hash(new_hash, sibling)
        node >>= 1
        last >>= 1
    return last == 0 and old_hash == old_root and new_hash == root


class Frontier:
    """The right edge of a growing tree: the complete subtrees that it consists of, at most 63, largest first.

    `append` returns every complete subtree that the leaf closes, as level, index and hash, lowest first.
    """

    def __init__(self, size: int = 0, edge: Iterable[bytes] = ()) -> None:
        """Go on from a tree of `size` leaves, whose `edge` these are; raises ValueError when they cannot be."""
        self.size = size
        self.edge = list(edge)
        if len(self.edge) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} subtrees at its edge")

    @classmethod
    def at(cls, size: int, hash_at: HashAt) -> Frontier:
        """Return the edge of the tree of the first `size` leaves."""
        edge, start = [], 0
        for level in range(size.bit_length() - 1, -1, -1):
            if size >> level & 1:
                edge.append(hash_at(level, start >> level))
                start += 1 << level
        return cls(size, edge)

    def append(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Add a leaf by its hash."""
        level, index, root = 0, self.size, leaf
        closed = [(level, index, root)]
        while index & 1:
            root = node_hash(self.edge.pop(), root)
            level, index = level + 1, index >> 1
            closed.append((level, index, root))
        self.edge.append(root)
        self.size += 1
        return closed

    def root(self) -> bytes:
        """Return the root of the tree as it is."""
        if not self.edge:
            return EMPTY_ROOT
        root = self.edge[-1]
        for left in self.edge[-2::-1]:
            root = node_hash(left, root)
        return root
