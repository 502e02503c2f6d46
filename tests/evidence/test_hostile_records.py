"""Bits flipped in records, records cut off, and records made to cost much: never verified, never another exception."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from tests.evidence.authorities import Authority, at, trusting
from tsa_core.evidence import (
    DataGroup,
    EvidenceRecord,
    EvidenceVerifier,
    MalformedRecord,
    make_records,
    renew_hash_trees,
    renew_timestamps,
)
from tsa_core.evidence.syntax import MAX_RECORD_OCTETS, MAX_TIMESTAMPS
from tsa_core.protocol import der
from tsa_core.verify import VerificationError

FLIPS = 1_500
OLD = Authority("Old", "ed25519", start=at(2020), end=at(2030))
NEW = Authority("New", "ed25519", start=at(2025), end=at(2040))
TRUST = trusting(OLD, NEW)
GROUP = DataGroup((b"one", b"two"))
RULES = {f"V{number}" for number in range(1, 22)} | {f"E{number}" for number in range(1, 9)}


def record() -> bytes:
    records = make_records([GROUP, b"other"], OLD.at(at(2024)))
    records = renew_timestamps(records, NEW.at(at(2026)))
    (first, _) = renew_hash_trees(records, [GROUP, b"other"], NEW.at(at(2028)), hash_name="sha512")
    return first.encode()


RECORD = record()


def test_flips_and_cuts() -> None:
    verifier = EvidenceVerifier(TRUST)
    verifier.verify(RECORD, GROUP, time=at(2030))
    chance = random.Random(4998)
    mutants = [
        bytes([*RECORD[: bit // 8], RECORD[bit // 8] ^ 1 << bit % 8, *RECORD[bit // 8 + 1 :]])
        for bit in chance.sample(range(8 * len(RECORD)), FLIPS)
    ]
    mutants += [RECORD[: chance.randrange(len(RECORD))] for _ in range(100)]
    mutants += [RECORD + b"\x00", b"", RECORD[1:]]
    for mutant in mutants:
        with pytest.raises(VerificationError) as caught:
            verifier.verify(mutant, GROUP, time=at(2030))
        assert caught.value.rule in RULES
        assert "\n" not in str(caught.value)


def nested(depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = der.sequence(data)
    return data


TIMESTAMP = EvidenceRecord.from_der(RECORD).timestamps[0]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (der.sequence(), "should begin"),
        (nested(2_000), "the version has the tag"),
        (bytes(MAX_RECORD_OCTETS + 1), "over"),
        (der.sequence(der.integer(2)), "another version"),
        (der.sequence(der.integer(1), der.sequence(), der.sequence()), "holds no timestamp"),
        (der.sequence(der.integer(1), der.sequence(), der.sequence(der.sequence())), "is empty"),
        (EvidenceRecord.initial(*[TIMESTAMP] * (MAX_TIMESTAMPS + 1)).encode(), "more than"),
        (b"\x30\x80\x02\x01\x01\x00\x00", "indefinite length"),
    ],
    ids=["empty", "deep", "large", "version", "no-chain", "empty-chain", "many", "indefinite"],
)
def test_what_is_no_record_is_refused_without_much_memory(data: bytes, reason: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(MalformedRecord, match=reason):
            EvidenceRecord.from_der(data)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("lists", [((),), (), (((b"x" * 32),), ())], ids=["no-hash", "no-list", "later"])
def test_empty_lists_are_refused(lists: tuple[tuple[bytes, ...], ...]) -> None:
    tree = der.tlv(0xA2, b"".join(der.sequence(*map(der.octet_string, values)) for values in lists))
    timestamp = der.sequence(tree, TIMESTAMP.time_stamp)
    data = der.sequence(der.integer(1), der.sequence(), der.sequence(der.sequence(timestamp)))
    with pytest.raises(MalformedRecord, match="is empty"):
        EvidenceRecord.from_der(data)
