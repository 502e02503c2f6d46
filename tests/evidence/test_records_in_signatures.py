"""Evidence records as unsigned attributes of CMS SignedData, content inside or detached (RFC 4998 appendix A)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.evidence.authorities import Authority, at
from tsa_core.evidence import (
    DataGroup,
    EvidenceError,
    EvidenceVerifier,
    MalformedRecord,
    ObjectNotCovered,
    attach,
    attached_records,
    make_records,
    verify_attached,
)
from tsa_core.evidence.cms import ID_AA_ER_INTERNAL
from tsa_core.protocol import der
from tsa_core.protocol.hashes import SHA256
from tsa_core.testing.programs import require_program

TSA = Authority("Of signatures", end=at(2050))
SIGNED = TSA.token(SHA256, SHA256.digest(b"contract"), at(2024))
"""A SignedData without unsigned attributes; a token is one."""
VERIFIER = EvidenceVerifier(TSA.trust)


def stamped(item: bytes | DataGroup, year: int = 2025) -> bytes:
    (record,) = make_records([item], TSA.at(at(year)))
    return record.encode()


def attached(cms: bytes, item: bytes | DataGroup, year: int = 2025, *, external: bool = False) -> bytes:
    (record,) = make_records([item], TSA.at(at(year)))
    return attach(cms, record, external=external)


def test_a_record_is_about_the_signature_without_it() -> None:
    cms = attached(SIGNED, SIGNED)
    (found,) = attached_records(cms)
    assert (found.external, found.covered) == (False, SIGNED)
    (verdict,) = verify_attached(cms, VERIFIER)
    assert verdict.existed == at(2025)
    assert attached_records(SIGNED) == ()
    with pytest.raises(EvidenceError, match="holds no evidence record"):
        verify_attached(SIGNED, VERIFIER)


def test_an_external_record_is_about_the_detached_content_too() -> None:
    cms = attached(SIGNED, DataGroup((SIGNED, b"detached")), external=True)
    assert len(verify_attached(cms, VERIFIER, content=b"detached")) == 1
    with pytest.raises(EvidenceError, match="give the content"):
        verify_attached(cms, VERIFIER)
    with pytest.raises(ObjectNotCovered):
        verify_attached(cms, VERIFIER, content=b"another")


def test_a_later_record_covers_the_earlier_one() -> None:
    once = attached(SIGNED, SIGNED)
    twice = attached(once, once, 2026)
    assert [verdict.existed for verdict in verify_attached(twice, VERIFIER)] == [at(2025), at(2026)]
    assert [found.covered for found in attached_records(twice)] == [SIGNED, once]


def test_a_changed_signature_is_refused() -> None:
    cms = attached(SIGNED, SIGNED)
    position = cms.index(SHA256.digest(b"contract"))
    changed = cms[:position] + b"\x00" * 32 + cms[position + 32 :]
    with pytest.raises(ObjectNotCovered):
        verify_attached(changed, VERIFIER)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x30\x80\x00\x00", der.sequence(der.oid("1.2.840.113549.1.7.1")), SIGNED[:-1], SIGNED + b"\x00"],
    ids=["empty", "indefinite", "data", "cut", "more"],
)
def test_what_is_no_signature_is_refused(data: bytes) -> None:
    with pytest.raises(EvidenceError, match="no CMS SignedData"):
        attached_records(data)


def test_a_broken_attribute_is_refused() -> None:
    whole = attached(SIGNED, SIGNED)
    name = der.oid(ID_AA_ER_INTERNAL)
    start = whole.index(name) + len(name)
    with pytest.raises(EvidenceError):
        attached_records(whole[:start] + b"\x30" + whole[start + 1 :])
    two = stamped(SIGNED)
    attribute = der.sequence(name, der.tlv(der.SET, two + two))
    cms = attached(SIGNED, SIGNED)
    single = der.sequence(name, der.tlv(der.SET, attached_records(cms)[0].record.encode()))
    assert single in cms
    with pytest.raises(MalformedRecord, match="exactly one value"):
        attached_records(_with_attribute(attribute))


def _with_attribute(attribute: bytes) -> bytes:
    from tsa_core.evidence.cms import _Signature

    return _Signature.read(SIGNED).with_attributes([attribute])


def test_openssl_reads_a_signature_with_a_record(tmp_path: Path) -> None:
    openssl = require_program("openssl")
    (tmp_path / "signed").write_bytes(attached(SIGNED, SIGNED))
    done = subprocess.run(
        [openssl, "cms", "-cmsout", "-print", "-noout", "-inform", "DER", "-in", tmp_path / "signed"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "1.2.840.113549.1.9.16.2.49" in done.stdout
