"""The lines of trails, octet by octet, and what is read back from octets of strangers."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsa_core.api import AuditEvent, Identity
from tsa_core.api.trail import (
    BEGINNING,
    Anchor,
    AnchorDocument,
    BrokenAnchorError,
    BrokenChainError,
    Link,
    TokenMembers,
    begin_hash,
    check_line,
    event_members,
    parse_link,
    read_line,
    refusal_members,
    seal,
)
from tsa_core.testing import sample_record, sample_refusal

TOKEN = (
    '{"seq":1,"type":"token","serial":"0000000000000000000000000000000000000001",'
    '"gen_time":"2026-06-01T12:00:00.000000Z","profile":"default","policy":"1.3.6.1.4.1.57264.2",'
    '"hash_oid":"2.16.840.1.101.3.4.2.1","request_id":"sample-1","client":"127.0.0.1"'
)


def line_of(members: str, key: bytes | None = None, before: Link = BEGINNING) -> str:
    return seal(members, before, begin_hash(key))[0]


@pytest.mark.parametrize(
    ("key", "digest"),
    [
        (None, "3f5b94204569b0badbc93ffdfa815bd65c540e860da3988b719da55a9b660b37"),
        (b"a key of some length", "79f4ad8fa87f67d22f430e0b518eb1132e26b6c0b7fcd800bac5193ecea63940"),
    ],
    ids=["no key", "key"],
)
def test_a_token_has_the_line_that_it_always_had(key: bytes | None, digest: str) -> None:
    members = TokenMembers(digests=False, tokens=False)(sample_record(1))
    assert line_of(members, key) == f'{TOKEN},"hash":"{digest}"}}\n'


def test_the_bound_of_the_clock_is_in_the_line_of_a_token_where_it_was_measured() -> None:
    record = replace(sample_record(1), clock_error_bound=timedelta(milliseconds=2, microseconds=142))
    members = TokenMembers(digests=False, tokens=False)(record)
    assert members == TOKEN.removeprefix('{"seq":1,') + ',"clock_error_bound_us":2142'


def test_what_is_asked_for_stands_behind_what_is_always_there() -> None:
    who = Identity(name="press", tenant="acme", how="api-key")
    record = replace(sample_record(1), identity=who, response=b"0\x03\x02\x01\x00")
    members = TokenMembers(digests=True, tokens=True)(record)
    assert members == (
        f'{TOKEN.partition(",")[2]},"identity":"press","tenant":"acme","how":"api-key",'
        f'"digest":"{record.digest.hex()}","response":"MAMCAQA="'
    )


def test_a_refusal_says_what_is_known() -> None:
    known, unknown = (refusal_members(sample_refusal(known=each), digests=True) for each in (True, False))
    assert known.startswith(
        '"type":"refusal","time":"2026-06-01T12:00:00.000000Z","failure":"badAlg","reason":"the hash'
    )
    assert '"profile":"default"' in known
    assert '"digest":"' in known
    assert "profile" not in unknown
    assert "digest" not in unknown
    assert '"digest"' not in refusal_members(sample_refusal(), digests=False)


def test_an_event_is_written_as_text() -> None:
    event = AuditEvent(kind="clock.state", time=datetime(2026, 6, 1, tzinfo=UTC), details={"reason": 'a "é"'})
    line = line_of(event_members(event)).encode("ascii")
    fields, link = check_line(line, BEGINNING, begin_hash(None))
    assert fields["details"] == {"reason": 'a "é"'}
    assert parse_link(str(link)) == link


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_octets_of_strangers_are_no_line(octets: bytes) -> None:
    with pytest.raises(BrokenChainError):
        read_line(octets)


DOCUMENT = AnchorDocument(number=7, heads={"": Link(4711, "ab" * 32)}, previous="cd" * 32)


def test_an_anchor_is_read_as_it_was_written() -> None:
    anchor = Anchor(number=7, document=DOCUMENT.encode(), tokens={"https://tsa.example.org/": b"\x30\x00"})
    assert Anchor.from_json(anchor.to_json()) == anchor
    assert anchor.read_document() == DOCUMENT
    assert DOCUMENT.encode() == (
        b"tsa-core audit heads 1\nnumber 7\nprevious " + b"cd" * 32 + b"\nchain - 4711:" + b"ab" * 32 + b"\n"
    )


@pytest.mark.parametrize("name", ["-", "with space", "line\nfeed", "é", "x" * 201])
def test_a_chain_needs_a_name_that_can_be_written(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name of a chain"):
        AnchorDocument(number=1, heads={name: Link(1, "ab" * 32)}).encode()


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_octets_of_strangers_are_no_anchor(octets: bytes) -> None:
    with pytest.raises(BrokenAnchorError):
        Anchor.from_json(octets)
    with pytest.raises(BrokenAnchorError):
        Anchor(number=1, document=octets, tokens={}).read_document()


@settings(deadline=None)
@given(st.data())
def test_a_document_has_one_way_to_be_written(data: st.DataObject) -> None:
    whole = DOCUMENT.encode()
    at = data.draw(st.integers(0, len(whole) - 1))
    octet = data.draw(st.integers(0, 255).filter(lambda value: value != whole[at]))
    changed = Anchor(number=7, document=whole[:at] + bytes([octet]) + whole[at + 1 :], tokens={})
    with contextlib.suppress(BrokenAnchorError):
        assert changed.read_document().encode() == changed.document
