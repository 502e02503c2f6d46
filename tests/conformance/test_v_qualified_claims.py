"""V19: a token that claims to be qualified is shown as claiming it; whether it is true is in a trusted list."""

from __future__ import annotations

import pytest

from tests.conformance.verification import granted, refused, verify
from tsa_core.protocol import der, oids
from tsa_core.protocol.qc_statements import read_qc_statements
from tsa_core.protocol.tstinfo import Accuracy
from tsa_core.testing import forge
from tsa_core.verify import UnknownCriticalExtension

STATEMENT = der.sequence(der.oid(oids.ESI4_QTST_STATEMENT_1))
CLAIM = der.sequence(STATEMENT)
OTHER = der.sequence(der.sequence(der.oid("0.4.0.1862.1.1")))


def claiming(value: bytes, *, critical: bool = False) -> bytes:
    """Return a granted reply whose token has a qcStatements extension of this value."""
    claim = forge.extension(oids.ID_PE_QC_STATEMENTS, value, critical=critical)
    return granted(forge.tst_info(accuracy=Accuracy(microseconds=1_000_000), extensions=[claim]))


def test_v19_a_claim_is_typed_and_listed_as_not_checked() -> None:
    result = verify(claiming(CLAIM))
    assert result.claims_qualified
    assert result.tst_info.qc_statements == ((oids.ESI4_QTST_STATEMENT_1,), False, True)
    note = next(note for note in result.unchecked if note.code == "qualified-status")
    assert "the trusted list of its country" in note.text


def test_v19_without_a_claim_there_is_nothing_to_say() -> None:
    plain = verify(granted(forge.tst_info()))
    assert plain.tst_info.qc_statements is None
    for result in (plain, verify(claiming(OTHER))):
        assert not result.claims_qualified
        assert "qualified-status" not in [note.code for note in result.unchecked]


def test_v11_a_critical_claim_is_refused() -> None:
    refused(UnknownCriticalExtension, "V11", lambda: verify(claiming(CLAIM, critical=True)))


def test_a_statement_may_have_information_and_company() -> None:
    limit = der.sequence(der.oid("0.4.0.1862.1.2"), der.sequence(der.integer(1)))
    assert read_qc_statements(der.sequence(limit, STATEMENT)).identifiers == (
        "0.4.0.1862.1.2",
        oids.ESI4_QTST_STATEMENT_1,
    )


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x30\x00",
        CLAIM + b"\x00",
        CLAIM[:-1],
        der.sequence(der.sequence()),
        der.sequence(der.sequence(der.integer(1))),
        der.sequence(der.sequence(der.oid("1.2.3"), der.null(), der.null())),
        der.sequence(der.oid(oids.ESI4_QTST_STATEMENT_1)),
        der.sequence(der.sequence(b"\x06\x00")),
        der.sequence(der.sequence(b"\x06\x03\x80\x01\x01")),
        der.sequence(der.sequence(der.tlv(der.OBJECT_IDENTIFIER, b"\x81" * 60_000 + b"\x01"))),
        b"\x30\x84\xff\xff\xff\xff" + b"\x00" * 9,
    ],
    ids=lambda value: value[:12].hex() or "empty",
)
def test_hostile_statements_are_unreadable_and_no_error(value: bytes) -> None:
    assert read_qc_statements(value) == ((), False, False)
    result = verify(claiming(value))
    assert not result.claims_qualified
    assert result.tst_info.qc_statements == ((), False, False)
