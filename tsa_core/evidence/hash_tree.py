"""Hash trees: from many hash values to one root, and from one value back to it (RFC 4998 4.2 and 4.3).

The rules that RFC 4998 leaves open are those of BouncyCastle and DSS (docs/decisions/240-*.md): a list with one member
is not hashed again, equal values are one leaf, and a node without a neighbour moves up as it is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from mmap import mmap

from tsa_core.evidence.syntax import PartialHashtree
from tsa_core.protocol.hashes import HashAlgorithm


def node_hash(algorithm: HashAlgorithm, values: Iterable[bytes]) -> bytes:
    """Return the hash of the father of these values: of them in binary ascending order; a lone one is its own."""
    ordered = sorted(values)
    return ordered[0] if len(ordered) == 1 else algorithm.digest(b"".join(ordered))


def root_of(algorithm: HashAlgorithm, tree: Sequence[PartialHashtree]) -> bytes:
    """Return the root that a reduced hash tree leads to (RFC 4998 4.3)."""
    node = node_hash(algorithm, tree[0])
    for values in tree[1:]:
        node = node_hash(algorithm, (node, *values))
    return node


def level_sizes(count: int) -> list[int]:
    """Return how many nodes each level of a tree over `count` leaves has, leaves first, root last."""
    sizes = [count]
    while sizes[-1] > 1:
        sizes.append((sizes[-1] + 1) // 2)
    return sizes


class HashTree:
    """A binary tree over sorted hash values, all nodes in one buffer: level after level, the leaves first.

    The buffer may be a memory-mapped file, so that the tree of a million objects needs no memory.
    """

    def __init__(self, algorithm: HashAlgorithm, nodes: bytes | bytearray | mmap, count: int) -> None:
        self.algorithm = algorithm
        self.count = count
        self._nodes = nodes
        self._sizes = level_sizes(count)
        size = algorithm.digest_size
        if count < 1 or len(nodes) != sum(self._sizes) * size:
            raise ValueError(f"a tree over {count} hash values does not have {len(nodes)} bytes")

    @classmethod
    def over(cls, algorithm: HashAlgorithm, values: Iterable[bytes]) -> HashTree:
        """Return the tree over these hash values, sorted, each once."""
        leaves = sorted(set(values))
        if not leaves:
            raise ValueError("a hash tree needs at least one hash value")
        return cls(algorithm, build_nodes(algorithm, b"".join(leaves)), len(leaves))

    @property
    def nodes(self) -> bytes | bytearray | mmap:
        """All nodes, for a file."""
        return self._nodes

    @property
    def root(self) -> bytes:
        """The hash value that a timestamp is asked for."""
        return self._node(sum(self._sizes) - 1)

    def find(self, value: bytes) -> int | None:
        """Return the number of the leaf with this value, None when there is none."""
        number = bisect_left(_Leaves(self), value)
        return number if number < self.count and self._node(number) == value else None

    def reduced(self, number: int, group: PartialHashtree | None = None) -> tuple[PartialHashtree, ...] | None:
        """Return the reduced hash tree of one leaf; None when the leaf is the root and needs none.

        `group` are the hash values of a data group with several documents, of which the leaf is the hash.
        """
        if not 0 <= number < self.count:
            raise IndexError(f"the tree has {self.count} leaves")
        lists = [tuple(sorted(group)) if group is not None else (self._node(number),)]
        first = 0
        for size in self._sizes[:-1]:
            neighbour = number ^ 1
            if neighbour < size:
                lists.append((self._node(first + neighbour),))
            first += size
            number //= 2
        return tuple(lists) if len(lists) > 1 or group is not None else None

    def _node(self, number: int) -> bytes:
        size = self.algorithm.digest_size
        return bytes(self._nodes[number * size : number * size + size])


class _Leaves(Sequence[bytes]):
    """The leaves of a tree, for bisect."""

    def __init__(self, tree: HashTree) -> None:
        self._tree = tree

    def __len__(self) -> int:
        return self._tree.count

    def __getitem__(self, number: int) -> bytes:  # type: ignore[override]  # bisect takes no slices
        return self._tree._node(number)


def build_nodes(algorithm: HashAlgorithm, leaves: bytes | bytearray) -> bytearray:
    """Return all nodes of the tree over sorted leaves: level after level, the root last.

    Leaves in a bytearray become the nodes, so that they are not in memory twice.
    """
    size, new = algorithm.digest_size, algorithm.new
    nodes = leaves if isinstance(leaves, bytearray) else bytearray(leaves)
    first, count = 0, len(leaves) // size
    while count > 1:
        level = bytes(memoryview(nodes)[first:])
        for start in range(0, len(level) - size, 2 * size):
            left, right = level[start : start + size], level[start + size : start + 2 * size]
            nodes += new(left + right if left <= right else right + left).digest()
        if count % 2:
            nodes += level[-size:]
        first, count = first + len(level), (count + 1) // 2
    return nodes
