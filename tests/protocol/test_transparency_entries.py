"""The entries of tokens in a log, and the test vector of their documentation."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.transparency.leaf import TimestampEntry, entry_of, read_entry
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import make_chain

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "log-entries.md"
ENTRY = TimestampEntry(
    hashlib.sha256(bytes.fromhex("3003020101")).digest(),
    hashlib.sha256(bytes(range(4))).digest(),
    datetime(2026, 6, 1, 12, 0, 0, 250_000, tzinfo=UTC),
    b"\xaa" * 32,
)
CHAIN = make_chain()


def test_the_vector_of_the_documentation() -> None:
    vector = PAGE.read_text(encoding="utf-8").partition("<!-- vector -->")[2].partition("##")[0]
    assert ENTRY.encode().hex() == re.sub(r"\s", "", vector)
    assert read_entry(ENTRY.encode()) == ENTRY


def test_an_entry_is_made_from_the_token() -> None:
    content = forge.tst_info(gen_time=b"20260601120000.123456789Z")
    token = forge.token(CHAIN.signer, content, signature=b"a signature")
    entry = entry_of(forge.reply(token))
    assert entry == entry_of(token)
    assert entry.tst_info_hash == hashlib.sha256(content).digest()
    assert entry.signature_hash == hashlib.sha256(b"a signature").digest()
    assert entry.gen_time == datetime(2026, 6, 1, 12, 0, 0, 123_456, tzinfo=UTC)
    assert entry.certificate_hash == hashlib.sha256(CHAIN.signer.der).digest()


def test_an_old_attribute_names_its_certificate_too() -> None:
    old = {
        "1.2.840.113549.1.9.16.2.47": None,
        "1.2.840.113549.1.9.16.2.12": [forge.signing_certificate(forge.ess_cert_id(CHAIN.signer.der))],
    }
    entry = entry_of(forge.token(CHAIN.signer, attributes=old))
    assert entry.certificate_hash == hashlib.sha1(CHAIN.signer.der, usedforsecurity=False).digest()


def test_a_token_that_names_no_certificate_has_no_entry() -> None:
    with pytest.raises(EncodingError, match="which certificate"):
        entry_of(forge.token(CHAIN.signer, attributes={"1.2.840.113549.1.9.16.2.47": None}))


def test_what_is_no_token_has_no_entry() -> None:
    refused = forge.reply(status=2)
    two = forge.token(CHAIN.signer, signers=2)
    whole = forge.token(CHAIN.signer)
    for data in (b"", refused, two, *(whole[:length] for length in range(0, len(whole), 7))):
        with pytest.raises(EncodingError):
            entry_of(data)


def test_what_is_no_entry_is_refused() -> None:
    whole = ENTRY.encode()
    for data in (*(whole[:length] for length in range(len(whole))), whole + b"\0", b"\2" + whole[1:]):
        with pytest.raises(EncodingError):
            read_entry(data)
    with pytest.raises(EncodingError, match="9999"):
        read_entry(whole[:65] + b"\xff" * 8 + whole[73:])
    with pytest.raises(ValueError, match="since 1970"):
        ENTRY._replace(gen_time=datetime(1969, 12, 31, tzinfo=UTC)).encode()
