"""CRLs and OCSP responses inside a token (rule V9): they are heeded, and nobody need have signed them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tsa_core.protocol import der
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import Issued, make_chain
from tsa_core.testing.forged_revocation import basic_response, crl, entry, ocsp_response, single
from tsa_core.verify import (
    CertificateRevoked,
    Revocation,
    RevocationStatus,
    RevocationUnknown,
    TrustStore,
    VerifiedTimestamp,
    verify_response,
    verify_token,
)

CHAIN = make_chain()
CA, SIGNER = CHAIN.intermediate, CHAIN.signer
TRUST = TrustStore.from_chain(CHAIN.pem)
DAY = timedelta(days=1)
SOON = forge.GEN_TIME + DAY
GOOD_CRL = crl(CA, this_update=forge.GEN_TIME)
REVOKING_CRL = crl(CA, entry(SIGNER, SOON, 1), this_update=SOON)
GOOD_BASIC = basic_response(CA, single(SIGNER, CA, this_update=forge.GEN_TIME), produced_at=forge.GEN_TIME)
REVOKED_SINGLE = single(SIGNER, CA, this_update=SOON, revoked=SOON, reason=1)
REVOKING_BASIC = basic_response(CA, REVOKED_SINGLE, produced_at=SOON)
ARCHIVAL = "1.2.840.113583.1.1.8"
NONSENSE = der.sequence(der.integer(1))


def other(response: bytes, kind: str = "1.3.6.1.5.5.7.16.2") -> bytes:
    """Return an OtherRevocationInfoFormat (RFC 5652 10.2.1)."""
    return der.tlv(0xA1, der.oid(kind) + response)


def unsigned(oid: str, value: bytes) -> bytes:
    return der.tlv(0xA1, der.sequence(der.oid(oid), der.tlv(der.SET, value)))


def lists(crls: bytes = b"", responses: bytes = b"") -> bytes:
    """Return RevocationValues or RevocationInfoArchival."""
    return der.sequence(
        der.explicit(0, der.sequence(crls)) if crls else b"",
        der.explicit(1, der.sequence(responses)) if responses else b"",
    )


def values(crls: bytes = b"", responses: bytes = b"") -> bytes:
    return unsigned("1.2.840.113549.1.9.16.2.24", lists(crls, responses))


def check(revocation: Revocation | None = None, **parts: Any) -> VerifiedTimestamp:
    token = forge.token(SIGNER, certificates=[SIGNER.der], **parts)
    return verify_token(token, artifact=b"hello", trust=TRUST, revocation=revocation, time=SOON)


PLACES = [
    ({"crls": GOOD_CRL}, {"crls": REVOKING_CRL}),
    ({"crls": other(ocsp_response(GOOD_BASIC))}, {"crls": other(ocsp_response(REVOKING_BASIC))}),
    ({"unsigned": values(GOOD_CRL)}, {"unsigned": values(REVOKING_CRL)}),
    ({"unsigned": values(responses=GOOD_BASIC)}, {"unsigned": values(responses=REVOKING_BASIC)}),
    (
        {"attributes": {ARCHIVAL: [lists(GOOD_CRL)]}},
        {"attributes": {ARCHIVAL: [lists(responses=ocsp_response(REVOKING_BASIC))]}},
    ),
    ({"unsigned": unsigned(ARCHIVAL, lists(GOOD_CRL))}, {"unsigned": unsigned(ARCHIVAL, lists(REVOKING_CRL))}),
]
IDS = ["crls", "crls, OCSP", "revocation values", "revocation values, OCSP", "archival", "archival, unsigned"]


@pytest.mark.parametrize(("good", "revoking"), PLACES, ids=IDS)
@pytest.mark.parametrize("asked", [False, True], ids=["not asked", "asked"])
def test_evidence_in_the_token_counts(good: dict[str, Any], revoking: dict[str, Any], asked: bool) -> None:
    revocation = Revocation() if asked else None
    result = check(revocation, **good)
    assert result.revocation_checked
    assert result.revocation[0].evidence[0].source == "in the token"
    with pytest.raises(CertificateRevoked, match="in the token"):
        check(revocation, **revoking)


@pytest.mark.parametrize(
    "parts",
    [
        {"crls": NONSENSE},
        {"crls": der.integer(1)},
        {"crls": other(NONSENSE)},
        {"crls": other(der.null(), "1.2.3.4")},
        {"crls": REVOKING_CRL[:-1]},
        {"unsigned": values(NONSENSE)},
        {"unsigned": unsigned("1.2.840.113549.1.9.16.2.24", der.integer(1))},
        {"unsigned": der.tlv(0xA1, b"nonsense")},
        {"unsigned": unsigned("1.2.3.4", der.null())},
        {"attributes": {ARCHIVAL: [der.null()]}},
    ],
)
def test_nonsense_in_a_token_is_no_error_and_no_evidence(parts: dict[str, Any]) -> None:
    assert not check(**parts).revocation_checked
    with pytest.raises(RevocationUnknown):
        check(Revocation(), **parts)


def test_nonsense_does_not_hide_what_stands_beside_it() -> None:
    with pytest.raises(CertificateRevoked):
        check(crls=NONSENSE + REVOKING_CRL)


def test_evidence_in_the_token_ends_as_any_other() -> None:
    token = forge.token(SIGNER, certificates=[SIGNER.der], crls=GOOD_CRL)
    late = forge.GEN_TIME + 30 * DAY
    with pytest.raises(RevocationUnknown, match="stale"):
        verify_token(token, artifact=b"hello", trust=TRUST, revocation=Revocation(), time=late)
    result = verify_token(token, artifact=b"hello", trust=TRUST, time=late)
    assert result.revocation[0].status is RevocationStatus.NOT_CHECKED
    assert not result.revocation_checked


def test_a_token_may_bring_so_many_and_no_more() -> None:
    with pytest.raises(CertificateRevoked):
        check(crls=GOOD_CRL * 31 + REVOKING_CRL)
    result = check(crls=GOOD_CRL * 32 + REVOKING_CRL)
    assert result.revocation_checked


@pytest.mark.parametrize("roots", [(SIGNER,), (SIGNER, CA), (CHAIN.root, CA, SIGNER)])
def test_a_signer_among_the_roots_is_checked(roots: tuple[Issued, ...]) -> None:
    trust = TrustStore(roots=tuple(root.certificate for root in roots))
    reply = forge.reply(forge.token(SIGNER, certificates=[SIGNER.der, CA.der]))

    def verify(data: bytes) -> VerifiedTimestamp:
        revocation = Revocation.from_files([("k.crl", data)])
        return verify_response(reply, artifact=b"hello", trust=trust, revocation=revocation, time=SOON)

    assert verify(GOOD_CRL).revocation_checked
    with pytest.raises(CertificateRevoked, match=r"k\.crl"):
        verify(REVOKING_CRL)


def test_the_accuracy_of_the_token_counts_against_the_revocation_date() -> None:
    from tsa_core.protocol.tstinfo import Accuracy

    revoked = crl(CA, entry(SIGNER, forge.GEN_TIME + timedelta(seconds=2), 4), this_update=SOON)

    def with_accuracy(seconds: int) -> VerifiedTimestamp:
        content = forge.tst_info(accuracy=Accuracy(microseconds=seconds * 1_000_000))
        reply = forge.reply(forge.token(SIGNER, content, certificates=[SIGNER.der]))
        revocation = Revocation.from_files([revoked])
        return verify_response(reply, artifact=b"hello", trust=TRUST, revocation=revocation, time=SOON)

    assert with_accuracy(1).revocation[0].status is RevocationStatus.REVOKED_LATER
    with pytest.raises(CertificateRevoked):
        with_accuracy(2)
