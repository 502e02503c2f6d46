"""Thirty years: SHA-1 to SHA-256 to SHA-3, RSA to ECDSA to ML-DSA, three authorities; and each link taken away."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from tests.evidence.authorities import Authority, at, trusting
from tsa_core.evidence import (
    AlgorithmEnd,
    AlgorithmEnded,
    DataGroup,
    EvidenceRecord,
    LayerInvalid,
    LinkBroken,
    ObjectNotCovered,
    RecordRefused,
    renew_hash_trees,
    renew_timestamps,
    verify_record,
)
from tsa_core.evidence.making import stamp_leaves
from tsa_core.protocol.hashes import SHA1

RSA = Authority("Of RSA", "rsa2048", start=at(2005), end=at(2015))
ECDSA = Authority("Of ECDSA", "p256", start=at(2011), end=at(2032))
ML_DSA = Authority("Of ML-DSA", "ml-dsa-65", start=at(2029), end=at(2050))
TRUST = trusting(RSA, ECDSA, ML_DSA)
ENDS = (
    AlgorithmEnd(algorithm="rsa", until=at(2013), source="the drill"),
    AlgorithmEnd(algorithm="ecdsa", until=at(2031), source="the drill"),
    AlgorithmEnd(algorithm="sha256", until=at(2034), source="the drill"),
)
DEED = DataGroup((b"deed", b"plan"))
END = at(2038)


def initial() -> EvidenceRecord:
    leaves = [tuple(sorted(map(SHA1.digest, (b"deed", b"plan")))), (SHA1.digest(b"other"),)]
    first, _ = stamp_leaves(SHA1, leaves, RSA.at(at(2008)))
    return EvidenceRecord.initial(first)


def drill() -> EvidenceRecord:
    """Return the record after six timestamps; 2008 to 2038."""
    record = initial()
    (record,) = renew_hash_trees([record], [DEED], RSA.at(at(2012, 3)), hash_name="sha256")
    (record,) = renew_timestamps([record], ECDSA.at(at(2012, 11)))
    (record,) = renew_timestamps([record], ECDSA.at(at(2021)))
    (record,) = renew_timestamps([record], ML_DSA.at(at(2030)))
    (record,) = renew_hash_trees([record], [DEED], ML_DSA.at(at(2033)), hash_name="sha3-256")
    return record


RECORD = drill()


def verify(record: EvidenceRecord) -> object:
    return verify_record(record.encode(), DEED, trust=TRUST, time=END, algorithm_ends=ENDS)


def without(chain: int, position: int) -> EvidenceRecord:
    """Return the record without one timestamp; a chain that is then empty goes, too."""
    chains = [list(timestamps) for timestamps in RECORD.chains]
    del chains[chain - 1][position - 1]
    return replace(RECORD, chains=tuple(tuple(timestamps) for timestamps in chains if timestamps))


def test_thirty_years() -> None:
    verdict = verify_record(RECORD.encode(), DEED, trust=TRUST, time=END, algorithm_ends=ENDS)
    assert verdict.existed == at(2008)
    assert [(layer.place.kind, layer.hash_name, layer.valid_at.year) for layer in verdict.layers] == [
        ("initial", "sha1", 2012),
        ("hash tree renewal", "sha256", 2012),
        ("timestamp renewal", "sha256", 2021),
        ("timestamp renewal", "sha256", 2030),
        ("timestamp renewal", "sha256", 2033),
        ("hash tree renewal", "sha3-256", 2038),
    ]
    assert {layer.timestamp.signer_certificate for layer in verdict.layers} == {
        authority.signer.certificate for authority in (RSA, ECDSA, ML_DSA)
    }
    assert "strong-by-date" in {note.code for note in verdict.notes}


@pytest.mark.parametrize(
    ("chain", "position", "kind", "reason"),
    [
        (1, 1, ObjectNotCovered, "timestamp 1 of chain 1 does not cover"),
        (2, 1, LinkBroken, "timestamp 1 of chain 2"),
        (2, 2, LinkBroken, "timestamp 1 of chain 3"),
        (2, 3, LinkBroken, "timestamp 1 of chain 3"),
        (2, 4, LinkBroken, "timestamp 1 of chain 3"),
        (3, 1, AlgorithmEnded, "sha256 in the hash tree"),
    ],
)
def test_each_link_taken_away(chain: int, position: int, kind: type[RecordRefused], reason: str) -> None:
    with pytest.raises(kind) as caught:
        verify(without(chain, position))
    assert type(caught.value) is kind
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("sha256", "ecdsa", "kind", "reason"),
    [
        (at(2012, 9), at(2012, 11), LayerInvalid, "sha1"),  # the renewal by SHA-256 comes after the end of SHA-1
        (at(2012, 3), at(2013, 3), AlgorithmEnded, "relies on rsa"),  # and the one by ECDSA after the end of RSA
    ],
    ids=["of-sha1", "of-rsa"],
)
def test_a_renewal_after_an_end_is_too_late(
    sha256: datetime, ecdsa: datetime, kind: type[RecordRefused], reason: str
) -> None:
    (record,) = renew_hash_trees([initial()], [DEED], RSA.at(sha256), hash_name="sha256")
    (record,) = renew_timestamps([record], ECDSA.at(ecdsa))
    with pytest.raises(kind) as caught:
        verify_record(record, DEED, trust=TRUST, time=at(2020), algorithm_ends=ENDS)
    assert reason in str(caught.value)
