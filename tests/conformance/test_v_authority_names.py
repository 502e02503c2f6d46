"""V16: TSTInfo.tsa, if present, is a name of the signer's certificate."""

from __future__ import annotations

import pytest
from cryptography import x509

from tests.conformance.verification import CHAIN, TRUST, granted, refused, signed_by, verify
from tsa_core.protocol import der
from tsa_core.protocol.certificate import certificate_fields
from tsa_core.protocol.hashes import SHA256
from tsa_core.protocol.request import encode_request
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import issue, signer_extensions
from tsa_core.verify import AuthorityNameMismatch, check_answer

SIGNER = certificate_fields(CHAIN.signer.der)


def directory_name(name: bytes) -> bytes:
    return der.tlv(0xA4, name)


def rewritten(name: bytes) -> bytes:
    """Return the same name as RFC 5280 7.1 compares it: other string types, other case, other spaces."""
    return name.replace(b"\x0c\x0etsa-core tests", b"\x13\x0eTSA-Core TESTS")


def test_v16_the_subject_in_any_writing_is_a_name_of_the_signer() -> None:
    other = rewritten(SIGNER.subject)
    assert other != SIGNER.subject
    for name in (SIGNER.subject, other):
        assert verify(granted(forge.tst_info(tsa=directory_name(name)))).notes == ()


def test_v16_an_alternative_name_is_a_name_of_the_signer() -> None:
    names = x509.SubjectAlternativeName(
        [x509.DNSName("tsa.example.org"), x509.UniformResourceIdentifier("https://example.org/tsa")]
    )
    signer = issue("Named", issuer=CHAIN.intermediate, extensions=(*signer_extensions(), (names, False)))
    for tsa in (der.tlv(0x82, b"TSA.example.org"), der.tlv(0x86, b"https://example.org/tsa")):
        assert signed_by(signer, TRUST, content=forge.tst_info(tsa=tsa)).status == 0
    for tsa in (der.tlv(0x82, b"example.org"), der.tlv(0x81, b"tsa.example.org")):
        refused(AuthorityNameMismatch, "V16", lambda: signed_by(signer, TRUST, content=forge.tst_info(tsa=tsa)))  # noqa: B023 - called at once


@pytest.mark.parametrize(
    "tsa",
    [
        directory_name(SIGNER.issuer),
        der.tlv(0x84, SIGNER.subject),  # the right name, in a tag that says that it is a string
        directory_name(der.sequence()),
        der.tlv(0x82, b"tsa.example.org"),
        der.tlv(0xA4, b"\x30\x03\x31\x01\x00"),
        der.tlv(0xA4, b"garbage"),
        der.tlv(0x8F, b"x"),
        der.octet_string(b"x"),
    ],
)
def test_v16_another_name_and_one_that_cannot_be_read_are_refused_unless_allowed(tsa: bytes) -> None:
    reply = granted(forge.tst_info(tsa=tsa))
    refused(AuthorityNameMismatch, "V16", lambda: verify(reply))
    (note,) = verify(reply, allow=["tsa-name"]).notes
    assert note.code == "allowed-tsa-name"


def test_v16_holds_for_an_answer_that_is_checked_without_roots() -> None:
    request = encode_request(algorithm=SHA256, digest=SHA256.digest(b"hello"), cert_req=True)
    good = granted(forge.tst_info(tsa=directory_name(SIGNER.subject)))
    assert check_answer(good, request).tsa_der
    bad = granted(forge.tst_info(tsa=directory_name(SIGNER.issuer)))
    refused(AuthorityNameMismatch, "V16", lambda: check_answer(bad, request))
