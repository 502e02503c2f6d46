"""Merkle trees and tiles, against RFC 6962's own recursive definition."""

from __future__ import annotations

import contextlib
import hashlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.transparency.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_path,
    inclusion_path,
    is_consistent,
    leaf_hash,
    node_hash,
    root_of_inclusion,
    tree_root,
)
from tsa_core.protocol.transparency.tiles import (
    Tile,
    TileHashes,
    encode_bundle,
    read_bundle,
    tile_at,
    tiles_between,
)

ENTRIES = [f"entry {number}".encode() for number in range(70_000)]
# The leaves and roots of certificate-transparency's merkle_tree_test.
LEAVES = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
LEAVES.append(bytes.fromhex("606162636465666768696a6b6c6d6e6f"))
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
SIZES = st.integers(min_value=1, max_value=600)


def root_by_definition(entries: list[bytes]) -> bytes:
    """MTH of RFC 6962 2.1."""
    if not entries:
        return hashlib.sha256().digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\0" + entries[0]).digest()
    middle = 1
    while middle * 2 < len(entries):
        middle *= 2
    left, right = root_by_definition(entries[:middle]), root_by_definition(entries[middle:])
    return hashlib.sha256(b"\1" + left + right).digest()


class Grown:
    """A tree that grew leaf by leaf, with every complete subtree."""

    def __init__(self, size: int) -> None:
        self.frontier = Frontier()
        self.hashes: dict[tuple[int, int], bytes] = {}
        self.roots = [self.frontier.root()]
        for entry in ENTRIES[:size]:
            for level, index, value in self.frontier.append(leaf_hash(entry)):
                self.hashes[level, index] = value
            self.roots.append(self.frontier.root())

    def at(self, level: int, index: int) -> bytes:
        return self.hashes[level, index]


@pytest.fixture(scope="module")
def grown() -> Grown:
    return Grown(600)


def test_every_tree_has_the_root_of_the_definition(grown: Grown) -> None:
    assert grown.roots[0] == EMPTY_ROOT == tree_root(0, grown.at)
    for size in [*range(1, 70), 127, 128, 129, 255, 256, 257, 511, 600]:
        assert grown.roots[size] == root_by_definition(ENTRIES[:size]) == tree_root(size, grown.at)


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_the_reference(size: int) -> None:
    tree = Frontier()
    for leaf in LEAVES[:size]:
        tree.append(leaf_hash(leaf))
    assert tree.root().hex() == ROOTS[size - 1] == root_by_definition(LEAVES[:size]).hex()


@given(size=SIZES, data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_proof_of_inclusion_leads_to_the_root_and_to_no_other_place(
    grown: Grown, size: int, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaf, root = leaf_hash(ENTRIES[index]), grown.roots[size]
    path = inclusion_path(index, size, grown.at)
    assert root_of_inclusion(leaf, index, size, path) == root
    for other in {max(index - 1, 0), min(index + 1, size - 1)} - {index}:
        with contextlib.suppress(ValueError):
            assert root_of_inclusion(leaf, other, size, path) != root
    if path:
        turned = [bytes([path[0][0] ^ 1]) + path[0][1:], *path[1:]]
        assert root_of_inclusion(leaf, index, size, turned) != root
    for wrong in (path[:-1], [*path, leaf]):
        if len(wrong) != len(path):
            with pytest.raises(ValueError, match=r"hashes|no leaf"):
                root_of_inclusion(leaf, index, size, wrong)


@given(size=SIZES, data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_proof_of_consistency_holds_for_its_trees_alone(grown: Grown, size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(0, size))
    path = consistency_path(old, size, grown.at)
    assert is_consistent(old, grown.roots[old], size, grown.roots[size], path)
    forged = hashlib.sha256(b"another history").digest()
    if old:
        assert not is_consistent(old, forged, size, grown.roots[size], path)
    if old not in {0, size}:
        assert not is_consistent(old, grown.roots[old], size, forged, path)
        assert not is_consistent(old, grown.roots[old], size, grown.roots[size], path[:-1])
        assert not is_consistent(old, grown.roots[old], size, grown.roots[size], [*path, forged])
    assert not is_consistent(size, grown.roots[size], old, grown.roots[old], path) or old == size


def test_an_edge_goes_on_where_it_stopped(grown: Grown) -> None:
    for size in (0, 1, 2, 3, 255, 256, 300):
        edge = Frontier.at(size, grown.at)
        for entry in ENTRIES[size : size + 3]:
            edge.append(leaf_hash(entry))
        assert edge.root() == grown.roots[size + 3]
    with pytest.raises(ValueError, match="2 subtrees"):
        Frontier(3, [EMPTY_ROOT])


def test_the_tiles_of_the_specification() -> None:
    """The example of tlog-tiles: a tree of 70,000 leaves, and one of 256."""
    names = [tile.path for tile in tiles_between(0, 70_000, entries=False)]
    assert names[0] == "tile/0/000"
    assert names[273] == "tile/0/273.p/112"
    assert names[274:] == ["tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"]
    assert [tile.path for tile in tiles_between(0, 256, entries=False)] == ["tile/0/000", "tile/1/000.p/1"]
    assert Tile(0, 1_234_067).path == "tile/0/x001/x234/067"


def test_trees_are_read_from_tiles_that_were_written_in_steps(grown: Grown) -> None:
    files: dict[str, bytes] = {}
    steps = [0, 5, 255, 256, 300, 600]
    for old, size in pairwise(steps):
        for tile in tiles_between(old, size):
            first = tile.index * 256
            if tile.level < 0:
                files[tile.path] = encode_bundle(ENTRIES[first : first + tile.width])
            else:
                files[tile.path] = b"".join(grown.at(8 * tile.level, first + place) for place in range(tile.width))
    for size in steps[1:]:
        hashes = TileHashes(size, lambda tile: files[tile.path])
        assert tree_root(size, hashes) == grown.roots[size]
        assert inclusion_path(size // 2, size, hashes) == inclusion_path(size // 2, size, grown.at)
        with pytest.raises(ValueError, match="no complete subtree"):
            hashes(0, size)
    assert read_bundle(files["tile/entries/002.p/88"], 88) == ENTRIES[512:600]


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/0",
        "tile/0/x000/000",
        "tile/00/000",
        "tile/64/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/001/000",
        "tile/-1/000",
        "tile/0/../000",
        "tile/0/000/",
        "tile/0/\u0660\u0660\u0660",
        "entries/000",
    ],
    ids=repr,
)
def test_a_tile_has_one_name(path: str) -> None:
    with pytest.raises(EncodingError):
        tile_at(path)


@pytest.mark.parametrize(
    "data", [b"\0", b"\0\1", b"\0\1ab", b"\0\0" * 3, b""], ids=lambda data: data.hex() or "nothing"
)
def test_a_bundle_holds_what_its_width_says(data: bytes) -> None:
    with pytest.raises(EncodingError):
        read_bundle(data, 2)


def test_nodes_and_leaves_are_told_apart() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert node_hash(left, right) != leaf_hash(left + right)
