"""What the texts of C2SP print: each example that is whole, read or made here.

The sources are the specifications' own pages: c2sp.org/signed-note, tlog-checkpoint, tlog-cosignature, tlog-tiles,
tlog-policy. Two more are facts of the tests of filippo.io/torchwood and sigsum.org/sigsum-go.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import cache

import pytest
from cryptography.exceptions import InvalidSignature

from tsa_core.protocol.transparency.checkpoint import (
    Checkpoint,
    SignedCheckpoint,
    cosigned_message,
    parse_signed_checkpoint,
)
from tsa_core.protocol.transparency.merkle import leaf_hash, node_hash, subtree_root
from tsa_core.protocol.transparency.note import (
    KeyName,
    SignatureType,
    SignedNote,
    VerifierKey,
    parse_note,
    parse_signatures,
)
from tsa_core.protocol.transparency.policy import parse_policy
from tsa_core.protocol.transparency.tiles import Tile, tile_at, tiles_between

# signed-note: a text with an empty line of its own.
NOTE = """\
Ognuno sta solo sul cuor della terra
trafitto da un raggio di sole:

ed è subito sera.

— quasimodo.example/salvatore \
NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=
"""
# tlog-cosignature: a checkpoint, the log's signature, and one of a witness.
CHECKPOINT = """\
example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa \
Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 \
jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""
COSIGNED = """\
cosignature/v1
time 1679315147
example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
"""


def test_a_note_is_split_at_its_last_empty_line() -> None:
    note = parse_note(NOTE.encode())
    assert note.text.endswith("raggio di sole:\n\ned è subito sera.\n")
    [signature] = note.signatures
    assert signature.signer == KeyName("quasimodo.example/salvatore", bytes.fromhex("367ba04b"))
    assert len(signature.signature) == 64
    assert note.encode() == NOTE.encode()


def test_a_cosigned_checkpoint_is_read_and_the_signed_message_made() -> None:
    signed = parse_signed_checkpoint(CHECKPOINT.encode())
    assert signed.checkpoint[:2] == ("example.com/behind-the-sofa", 20_852_163)
    log, witness = signed.note.signatures
    assert (log.signer.name, len(log.signature)) == ("example.com/behind-the-sofa", 64)
    assert (witness.signer.name, len(witness.signature)) == ("witness.example.com/w1", 72)
    seconds = int.from_bytes(witness.signature[:8], "big")
    assert datetime.fromtimestamp(seconds, UTC) == datetime(2023, 3, 20, 12, 25, 47, tzinfo=UTC)
    key = VerifierKey("witness.example.com/w1", SignatureType.COSIGNATURE_ED25519, bytes(32))
    assert cosigned_message(key, signed.note.text, signed.checkpoint, seconds) == COSIGNED.encode()


def test_the_message_of_ml_dsa_44_has_the_fields_of_the_structure() -> None:
    key = VerifierKey("witness.example.com/w1", SignatureType.COSIGNATURE_ML_DSA_44, bytes(1312))
    checkpoint = Checkpoint("example.com/behind-the-sofa", 20_852_163, bytes(range(32)))
    assert cosigned_message(key, checkpoint.text, checkpoint, 1_679_315_147) == (
        b"subtree/v1\n\0"
        + bytes([22]) + b"witness.example.com/w1"
        + bytes.fromhex("00000000641850cb")
        + bytes([27]) + b"example.com/behind-the-sofa"
        + bytes(8)
        + bytes.fromhex("00000000013e2dc3")
        + bytes(range(32))
    )  # fmt: skip


def test_answers_of_a_witness_are_signature_lines() -> None:
    """tlog-witness and tlog-mirror print three lines, of two keys of one name and a third."""
    lines = """\
— witness.example/w1 \
CMp+6LWBU0anHGH5aNDTJkH/gj79sG+T6+iP2ThYN5krrDJbR1HDnucjL39QsZTSvVjyQLrdk3DXDqI5G2HgLatVs0pWh6Up69HVOw==
— witness.example/w1 \
I7rEps0pvK2UqkS2gSpVUDhrhVtQV9lgF6pRrWAvjJHjyWpW7VcE3SiOlVlbQNt64vWhO+DlkL0+UfzuOBMh9ChdMkP1vi/lCAsmlw==
— witness.example/w2 \
AWui8Sk55XjYLOijihBjhqEH6nS1ndDymE0a+6idX7pLcnoB+dhnz0854aLZgrrKbYKA7nC3HNJhm/kWl7oJlqU3rXXvpysAdyP3wQ==
"""
    found = parse_signatures(lines)
    assert [each.signer.name[-2:] for each in found] == ["w1", "w1", "w2"]
    assert len({each.signer for each in found}) == 3
    assert "".join(map(str, found)) == lines


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 1_234_067), "tile/0/x001/x234/067"),
        (Tile(-1, 1_234_067), "tile/entries/x001/x234/067"),
        (Tile(1, 0, 17), "tile/1/000.p/17"),
    ],
    ids=["whole", "bundle", "partial"],
)
def test_the_path_of_a_tile(tile: Tile, path: str) -> None:
    assert tile.path == path
    assert tile_at(path) == tile


def test_the_tiles_of_the_trees_that_the_text_counts() -> None:
    """70,000 leaves have 273 tiles and a partial one of 112, one and a partial one of 17, and a partial one of 1."""
    rows: dict[int, list[int]] = {}
    for tile in tiles_between(0, 70_000, entries=False):
        rows.setdefault(tile.level, []).append(tile.width)
    assert rows == {0: [256] * 273 + [112], 1: [256, 17], 2: [1]}
    assert [tile.path for tile in tiles_between(0, 256, entries=False)] == ["tile/0/000", "tile/1/000.p/1"]


def test_the_roots_of_all_subtrees_of_130_leaves() -> None:
    """torchwood hashes them all into one digest; the leaves are the octets 0 to 129."""
    leaves = [leaf_hash(bytes([number])) for number in range(130)]

    @cache
    def hash_at(level: int, index: int) -> bytes:
        if level == 0:
            return leaves[index]
        return node_hash(hash_at(level - 1, 2 * index), hash_at(level - 1, 2 * index + 1))

    digest = hashlib.sha256()
    for end in range(131):
        for start in range(end + 1):
            if start == end or start % (1 << (end - start - 1).bit_length()) == 0:
                digest.update(f"[{start}, {end}) {subtree_root(start, end, hash_at).hex()}\n".encode())
    assert digest.hexdigest() == "b82806ad4265bb151c1119c0f4db437bb4d1a1f887b3a7fba1cd4ebf552e3e81"


def test_a_cosignature_of_a_time_that_no_clock_shows() -> None:
    """sigsum-go reads it; the time has more than 63 bits, so that it verifies for nobody here."""
    line = "— example.org/witness-key deadbeef+deadcod/cod" + "A" * 82 + "==\n"
    [found] = parse_signatures(line)
    assert found.signer == KeyName("example.org/witness-key", bytes([117, 230, 157, 109]))
    assert found.signature[:11].hex() == "e79ff9d79a75ca1d" + "fdca1d"
    key = VerifierKey("example.org/witness-key", SignatureType.COSIGNATURE_ED25519, bytes(32))
    signed = parse_signed_checkpoint(CHECKPOINT.encode())
    renamed = found._replace(signer=key.signs_as)
    with pytest.raises(InvalidSignature):
        SignedCheckpoint(SignedNote(signed.note.text, (renamed,)), signed.checkpoint).signed_by([key])


def test_the_smallest_policy() -> None:
    assert parse_policy(b"quorum none\n").satisfied_by(lambda _: False)
