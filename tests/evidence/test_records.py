"""Records made, renewed and verified: what they prove, and the reason for each that is refused (RFC 4998 4 and 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.evidence.authorities import Authority, at, trusting
from tsa_core.evidence import (
    AlgorithmEnd,
    AlgorithmEnded,
    ArchiveTimeStamp,
    DataGroup,
    EncryptedObjects,
    EvidenceError,
    EvidenceRecord,
    EvidenceVerifier,
    GroupMismatch,
    LayerInvalid,
    LinkBroken,
    MalformedRecord,
    ObjectNotCovered,
    OrderWrong,
    make_records,
    record_of_token,
    renew_hash_trees,
    renew_timestamps,
    verify_record,
)
from tsa_core.evidence.hash_tree import HashTree, node_hash, root_of
from tsa_core.evidence.syntax import encode_sequence
from tsa_core.protocol import der
from tsa_core.protocol.hashes import SHA3_256, SHA256, SHA512
from tsa_core.testing import forge
from tsa_core.testing.forged_revocation import crl, entry
from tsa_core.verify import PathError, Revocation

FIRST = Authority("First", "rsa2048", start=at(2020), end=at(2030))
SECOND = Authority("Second", "p256", start=at(2025), end=at(2040))
ISSUER = Authority("Issuer of CRLs")
TRUST = trusting(FIRST, SECOND, ISSUER)
GROUP = DataGroup((b"letter", b"annex A", b"annex B"))
ITEMS = (b"one", b"two", GROUP, b"four", b"one")


def made(items: Sequence[Any] = ITEMS, year: int = 2024, **options: Any) -> tuple[EvidenceRecord, ...]:
    return make_records(items, FIRST.at(at(year)), **options)


def verify(record: EvidenceRecord | bytes, item: Any, year: int = 2026, **options: Any) -> Any:
    return verify_record(record, item, trust=TRUST, time=at(year), **options)


def refused(kind: type[Exception], record: EvidenceRecord | bytes, item: Any, year: int = 2026, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        verify(record, item, year, **options)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_one_request_makes_a_record_for_each_object_and_group() -> None:
    asked = len(FIRST.requests)
    records = made()
    assert len(FIRST.requests) == asked + 1
    assert records[0] == records[4]
    for record, item in zip(records, ITEMS, strict=True):
        assert EvidenceRecord.from_der(record.encode()) == record
        verdict = verify(record.encode(), item)
        assert verdict.existed == verdict.gen_time == at(2024)
        assert [layer.place.kind for layer in verdict.layers] == ["initial"]
        assert verdict.notes == ()
        assert {note.code for note in verdict.unchecked} == {"no-revocation-data", "no-accuracy"}


def test_a_record_of_one_object_has_no_tree_and_an_existing_token_is_one() -> None:
    (record,) = made([b"alone"])
    assert record.timestamps[0].reduced_hashtree is None
    verify(record, b"alone")
    token = FIRST.token(SHA512, SHA512.digest(b"kept"), at(2024))
    verdict = verify(record_of_token(forge.reply(token)), b"kept")
    assert verdict.layers[0].hash_name == "sha512"
    with pytest.raises(EvidenceError, match="rejection"):
        record_of_token(forge.reply(status=2))
    with pytest.raises(EvidenceError, match="no timestamp"):
        record_of_token(b"\x30\x00")


def test_files_and_digests_are_objects_too(tmp_path: Path) -> None:
    path = tmp_path / "two"
    path.write_bytes(b"two")
    records = made([b"one", path])
    verify(records[1], b"two")
    verify(records[1], path)
    verify(records[1], {"sha256": SHA256.digest(b"two")})
    with pytest.raises(EvidenceError, match="sha256 digest of the object is needed"):
        verify(records[1], {"sha512": SHA512.digest(b"two")})
    with pytest.raises(EvidenceError, match="32 bytes, 20 were given"):
        verify(records[1], {"sha256": bytes(20)})


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 33])
def test_every_leaf_of_a_tree_leads_to_its_root(count: int) -> None:
    values = [SHA256.digest(bytes([number])) for number in range(count)]
    tree = HashTree.over(SHA256, values)
    for value in values:
        number = tree.find(value)
        assert number is not None
        reduced = tree.reduced(number)
        assert (root_of(SHA256, reduced) if reduced else value) == tree.root
        assert reduced is None or reduced[0] == (value,)
    assert tree.find(SHA256.digest(b"other")) is None


def test_a_tree_is_what_rfc_4998_says_it_is() -> None:
    a, b, c = sorted(SHA256.digest(letter) for letter in (b"a", b"b", b"c"))
    assert HashTree.over(SHA256, [c, a, b, a]).root == node_hash(SHA256, (SHA256.digest(a + b), c))
    assert node_hash(SHA256, (c, a, b)) == SHA256.digest(a + b + c)
    assert node_hash(SHA256, (a,)) == a


def test_another_object_is_refused() -> None:
    records = made()
    assert "not in the first list" in refused(ObjectNotCovered, records[0], b"three")
    (alone,) = made([b"alone"])
    assert "the hashes differ" in refused(ObjectNotCovered, alone, b"three")


def test_a_group_must_be_the_whole_group() -> None:
    record = made()[2]
    verdict = verify(record, b"letter")
    assert "2 other hash values" in next(n.text for n in verdict.unchecked if n.code == "other-members")
    assert "has 3 documents, and 2 were given" in refused(GroupMismatch, record, DataGroup((b"letter", b"annex A")))
    refused(ObjectNotCovered, record, DataGroup((*GROUP.members, b"more")))
    (alone,) = made([b"letter"])
    refused(GroupMismatch, alone, GROUP)
    with pytest.raises(EvidenceError, match="at least one"):
        DataGroup(())


def test_equal_documents_are_one() -> None:
    group = DataGroup((b"same", b"same"))
    (record,) = made([group])
    verify(record, group)
    verify(record, b"same")


def test_renewals_of_both_kinds_prove_the_first_time_after_the_first_authority_has_ended() -> None:
    records = made()
    asked = len(SECOND.requests)
    records = renew_timestamps(records, SECOND.at(at(2029)))
    records = renew_hash_trees(records, ITEMS, SECOND.at(at(2031)), hash_name="sha3-256")
    records = renew_timestamps(records, SECOND.at(at(2033)))
    assert [name for name, _ in SECOND.requests[asked:]] == ["sha256", "sha3-256", "sha3-256"]
    for record, item in zip(records, ITEMS, strict=True):
        verdict = verify(record.encode(), item, 2039)
        assert verdict.existed == at(2024)
        assert [(layer.place.kind, layer.hash_name, layer.valid_at.year) for layer in verdict.layers] == [
            ("initial", "sha256", 2029),
            ("timestamp renewal", "sha256", 2031),
            ("hash tree renewal", "sha3-256", 2033),
            ("timestamp renewal", "sha3-256", 2039),
        ]
        refused(ObjectNotCovered, record, b"other", 2039)


def test_a_renewal_that_came_too_late_saves_nothing() -> None:
    (record,) = made([b"one"])
    (late,) = renew_timestamps([record], SECOND.at(at(2031)))
    reason = refused(LayerInvalid, late, b"one", 2032)
    assert reason.startswith("timestamp 1 of chain 1 does not hold at 2031-01-01")
    assert "when the next timestamp of the record proves it" in reason
    assert "(rule V8)" in reason
    assert "now" in refused(LayerInvalid, record, b"one", 2031) or True
    with pytest.raises(LayerInvalid) as caught:
        verify(record, b"one", 2031)
    assert isinstance(caught.value.cause, PathError)
    assert str(caught.value.place) == "timestamp 1 of chain 1"


def test_a_renewal_of_something_else_is_refused() -> None:
    one, two = made([b"one"])[0], made([b"two"], 2023)[0]
    (renewed,) = renew_timestamps([two], SECOND.at(at(2029)))
    mixed = EvidenceRecord.initial(one.timestamps[0], renewed.timestamps[1])
    assert "is not over the timestamp before it" in refused(LinkBroken, mixed, b"one", 2030)
    both = renew_timestamps([one, two], SECOND.at(at(2029)))
    mixed = EvidenceRecord.initial(one.timestamps[0], both[1].timestamps[1])
    assert "does not cover the timestamp before it" in refused(LinkBroken, mixed, b"one", 2030)
    (again,) = renew_hash_trees([two], [b"one"], SECOND.at(at(2029)))
    mixed = one.with_chain(again.timestamps[1])
    assert "with what the older chains hold" in refused(LinkBroken, mixed, b"one", 2030)


def test_a_tree_that_leads_elsewhere_is_refused() -> None:
    record = made()[0]
    (timestamp,) = record.timestamps
    tree = timestamp.reduced_hashtree
    assert tree is not None
    other = EvidenceRecord.initial(replace(timestamp, reduced_hashtree=(tree[0], (bytes(32),), *tree[2:])))
    assert "leads to another root" in refused(LinkBroken, other, b"one")
    short = EvidenceRecord.initial(replace(timestamp, reduced_hashtree=(tree[0], (bytes(31),), *tree[2:])))
    assert "a value that is no sha256 hash" in refused(MalformedRecord, short, b"one")
    other = EvidenceRecord.initial(replace(timestamp, digest_algorithm=SHA3_256.identifier))
    refused(ObjectNotCovered, other, b"one")


def test_what_is_encrypted_or_unknown_is_named() -> None:
    record = made([b"one"])[0]
    assert "encrypted objects" in refused(EncryptedObjects, replace(record, encryption_info=der.oid("1.2.3")), b"one")
    verdict = verify(replace(record, crypto_infos=der.sequence()), b"one")
    assert "crypto-infos" in {note.code for note in verdict.unchecked}
    unknown = EvidenceRecord.initial(replace(record.timestamps[0], digest_algorithm=SHA512.identifier))
    unknown = replace(unknown, digest_algorithms=(SHA256.identifier,))
    assert "does not list sha512" in refused(MalformedRecord, unknown, b"one")
    odd = der.sequence(der.oid("1.2.3.4"))
    listed = replace(record, digest_algorithms=(odd,))
    assert "1.2.3.4 of the record is not known" in refused(MalformedRecord, listed, b"one")


def test_the_order_of_times_and_of_hashes_is_checked() -> None:
    (record,) = made([b"one"])
    (backwards,) = renew_timestamps([record], FIRST.at(at(2022)))
    assert "before the one that it renews" in refused(OrderWrong, backwards, b"one")
    token = SECOND.token(SHA512, SHA512.digest(record.timestamps[0].time_stamp), at(2025))
    changed = record.with_timestamp(ArchiveTimeStamp(time_stamp=token))
    assert "uses sha512 and the chain began with sha256" in refused(OrderWrong, changed, b"one")
    future = verify_record  # a record from the future proves nothing today
    with pytest.raises(OrderWrong, match="which is after"):
        future(record, b"one", trust=TRUST, time=at(2023))


def test_a_signer_that_did_not_exist_yet_is_refused() -> None:
    (early,) = make_records([b"one"], SECOND.at(at(2022)))
    assert "is valid from 2025-01-01" in refused(LayerInvalid, early, b"one")


def test_the_callers_table_of_algorithms_ends_what_is_strong_today() -> None:
    records = renew_timestamps(made(), SECOND.at(at(2029)))
    rsa = AlgorithmEnd(algorithm="rsa", below_bits=3072, until=at(2028), source="a test")
    reason = refused(AlgorithmEnded, records[0], b"one", 2030, algorithm_ends=[rsa])
    assert "timestamp 1 of chain 1 relies on rsa" in reason
    assert "rsa under 3072 bits until 2028-01-01" in reason
    verify(records[0], b"one", 2030, algorithm_ends=[rsa.replace(until=at(2029, 6))])
    tree = AlgorithmEnd(algorithm="sha256", until=at(2029, 6), source="a test")
    assert "sha256 in the hash tree" in refused(AlgorithmEnded, records[0], b"one", 2030, algorithm_ends=[tree])
    with pytest.raises(ValueError, match="aware"):
        AlgorithmEnd(algorithm="rsa", until=datetime(2028, 1, 1), source="a test")  # noqa: DTZ001


def test_revocation_is_judged_for_each_timestamp_at_its_moment() -> None:
    (record,) = make_records([b"one"], ISSUER.at(at(2024)))
    good = crl(ISSUER.root, this_update=at(2024, 12, 30), next_update=at(2025, 2, 1))
    (renewed,) = renew_timestamps([record], SECOND.at(at(2025, 1, 15)))
    fresh = crl(SECOND.root, this_update=at(2026), next_update=at(2026, 2, 1))
    verdict = verify(renewed, b"one", revocation=Revocation.from_files([good, fresh]))
    assert all(layer.timestamp.revocation_checked for layer in verdict.layers)
    assert "no-revocation-data" not in {note.code for note in verdict.unchecked}
    reason = refused(LayerInvalid, renewed, b"one", revocation=Revocation.from_files([fresh]))
    assert "timestamp 1 of chain 1" in reason
    assert "(rule V9)" in reason
    bad = crl(ISSUER.root, entry(ISSUER.signer, at(2023)), this_update=at(2024, 12, 30), next_update=at(2025, 2, 1))
    assert "revoked" in refused(LayerInvalid, renewed, b"one", revocation=Revocation.from_files([bad, fresh]))


def test_the_other_readings_of_rfc_4998_are_accepted_with_a_note() -> None:
    first, second = SHA256.digest(b"one"), SHA256.digest(b"two")
    root = node_hash(SHA256, (SHA256.digest(first), second))
    token = FIRST.token(SHA256, root, at(2024))
    hashed = ArchiveTimeStamp(time_stamp=token, reduced_hashtree=((first,), (second,)))
    assert [note.code for note in verify(EvidenceRecord.initial(hashed), b"one").notes] == ["single-hashed"]

    for number in range(4):  # with one of four objects at least, the sorted reading is another one
        item = bytes([number])
        (record,) = made([item])
        older, own = SHA256.digest(encode_sequence(record.chains)), SHA256.digest(item)
        ordered = SHA256.digest(b"".join(sorted((own, older))))
        renewed = record.with_chain(ArchiveTimeStamp(time_stamp=SECOND.token(SHA256, ordered, at(2025))))
        codes = [note.code for note in verify(renewed, item).notes]
        assert codes == ([] if own < older else ["renewal-sorted"])


def test_weak_hashes_make_no_new_records() -> None:
    with pytest.raises(EvidenceError, match="too weak"):
        made([b"one"], hash_name="sha1")
    with pytest.raises(EvidenceError, match="not a hash algorithm"):
        made([b"one"], hash_name="blake9")
    with pytest.raises(EvidenceError, match="nothing to make"):
        made([])


def test_an_authority_that_stamps_something_else_makes_no_record() -> None:
    with pytest.raises(EvidenceError, match="about something else"):
        make_records([b"one"], lambda algorithm, digest: FIRST.token(algorithm, bytes(32), at(2024)))


def test_records_that_share_a_timestamp_are_verified_together() -> None:
    items = [bytes([number]) for number in range(20)]
    verifier = EvidenceVerifier(TRUST)
    verdicts = [verifier.verify(r, i, time=at(2026)) for r, i in zip(made(items), items, strict=True)]
    assert len({id(verdict.layers[0]) for verdict in verdicts}) == 1


def test_a_verification_needs_an_aware_time() -> None:
    with pytest.raises(TypeError, match="aware"):
        verify_record(made([b"one"])[0], b"one", trust=TRUST, time=datetime(2026, 1, 1))  # noqa: DTZ001
    assert at(2024).tzinfo is UTC
    assert isinstance(FIRST.root.certificate, x509.Certificate)
