"""The Merkle tree of RFC 6962 2.1, computed over leaves that come one after the other."""

from __future__ import annotations

import hashlib


class MerkleTree:
    """Takes leaves and tells the root; keeps one hash for each level, so a tree of any size fits."""

    def __init__(self) -> None:
        self._complete: list[tuple[int, bytes]] = []
        """Roots of complete subtrees with their number of leaves, from left to right."""
        self.size = 0

    def add(self, leaf: bytes) -> None:
        """Add a leaf's data."""
        node, leaves = hashlib.sha256(b"\x00" + leaf).digest(), 1
        while self._complete and self._complete[-1][0] == leaves:
            node = _node(self._complete.pop()[1], node)
            leaves *= 2
        self._complete.append((leaves, node))
        self.size += 1

    def root(self) -> bytes:
        """Return the root of what was added: MTH of RFC 6962 2.1."""
        if not self._complete:
            return hashlib.sha256(b"").digest()
        *others, (_, root) = self._complete
        for _, left in reversed(others):
            root = _node(left, root)
        return root


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
