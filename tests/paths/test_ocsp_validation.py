"""OCSP responses (RFC 6960): whose count, for when they speak, and what they say of a certificate."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.paths.revocation_material import CHAIN, DAY, GEN_TIME, NOW, RECENTLY, check, path_of
from tsa_core.paths.errors import CertificateRevoked, RevocationUnknown
from tsa_core.paths.findings import RevocationStatus
from tsa_core.paths.revocation import RevocationScope
from tsa_core.protocol import der, oids
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import Extension, Issued, ca_extensions, issue, key_usage, signer_extensions
from tsa_core.testing.forged_revocation import (
    NO_END,
    archive_cutoff,
    basic_response,
    crl,
    entry,
    ocsp_response,
    single,
)

CA, SIGNER = CHAIN.intermediate, CHAIN.signer
KEY_COMPROMISE, SUPERSEDED, HOLD = 1, 4, 6
BEFORE, AFTER = GEN_TIME - DAY, GEN_TIME + DAY
OCSP_SIGNING: Extension = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), False)
NO_CHECK: Extension = (x509.OCSPNoCheck(), False)


def answer(
    by: Issued = CA,
    *,
    certificate: Issued = SIGNER,
    include: bool = True,
    by_key: bool = False,
    produced_at: datetime = RECENTLY,
    response_extensions: tuple[bytes, ...] = (),
    **of_single: Any,
) -> bytes:
    of_single.setdefault("this_update", RECENTLY)
    return ocsp_response(
        basic_response(
            by,
            single(certificate, CA, **of_single),
            produced_at=produced_at,
            by_key=by_key,
            certificates=[by.der] if include and by is not CA else [],
            extensions=response_extensions,
        )
    )


def responder(*extensions: Extension, issuer: Issued = CA, **arguments: Any) -> Issued:
    """Return a responder that its issuer appointed, with more extensions if any are given."""
    return issue("Responder", issuer=issuer, extensions=(key_usage(sign=True), OCSP_SIGNING, *extensions), **arguments)


def refused(why: str, *responses: bytes, **arguments: Any) -> None:
    with pytest.raises(RevocationUnknown, match=why):
        check(ocsp=[("r.ocsp", response) for response in responses], **arguments)


@pytest.mark.parametrize("by_key", [False, True], ids=["by name", "by key hash"])
@pytest.mark.parametrize("by", [CA, responder()], ids=["the issuer", "a responder"])
def test_who_signed_is_found_by_name_and_by_key_hash(by: Issued, by_key: bool) -> None:
    (signer, _) = check(ocsp=[("r.ocsp", answer(by, by_key=by_key))])
    assert signer.status is RevocationStatus.GOOD
    assert (signer.evidence[0].kind, signer.evidence[0].source) == ("OCSP response", "r.ocsp")


def test_a_responder_whose_certificate_is_at_hand_but_not_in_the_response() -> None:
    by = responder()
    refused("neither by", answer(by, include=False))
    assert check(ocsp=[answer(by, include=False)], pool=[by])[0].evidence


def test_a_responder_that_another_ca_appointed() -> None:
    refused("was not appointed by", answer(responder(issuer=CHAIN.root)))


def test_a_responder_that_had_ended_when_it_signed() -> None:
    refused("ended", answer(responder(not_after=RECENTLY - DAY)))


def test_a_response_ends_with_its_responder() -> None:
    by = responder(not_after=RECENTLY + timedelta(hours=1))
    refused("which ended at", answer(by))
    with pytest.raises(CertificateRevoked):
        check(ocsp=[answer(by, revoked=AFTER, reason=KEY_COMPROMISE)])


@pytest.mark.parametrize("appointed", [False, True])
def test_v18_a_response_made_after_the_issuers_end_proves_nothing(appointed: bool) -> None:
    ca = issue("Short CA", issuer=CHAIN.root, extensions=ca_extensions(), not_after=GEN_TIME + 10 * DAY)
    certificate = issue("Below it", issuer=ca, extensions=signer_extensions())
    path = path_of(certificate, ca, CHAIN.root)
    by = issue("Responder", issuer=ca, extensions=(OCSP_SIGNING,)) if appointed else ca

    def said(when: datetime, **of_single: Any) -> bytes:
        of_single = {"this_update": when, "next_update": NOW, **of_single}
        singles = single(certificate, ca, **of_single)
        return ocsp_response(basic_response(by, singles, produced_at=when, certificates=[by.der]))

    with pytest.raises(RevocationUnknown, match=r"was made at .*, after .*Short CA.* ended"):
        check(ocsp=[said(GEN_TIME + 11 * DAY)], path=path)
    assert check(ocsp=[said(GEN_TIME + 9 * DAY)], path=path)[0].evidence
    with pytest.raises(CertificateRevoked):
        check(ocsp=[said(GEN_TIME + 11 * DAY, revoked=AFTER, reason=KEY_COMPROMISE)], path=path)


def test_v18_a_revoked_responder_proves_nothing() -> None:
    by = responder()
    only_about_the_responder = crl(CA, entry(by, BEFORE, KEY_COMPROMISE), this_update=RECENTLY - 8 * DAY)
    with pytest.raises(RevocationUnknown, match=r"does not count.*was revoked"):
        check(only_about_the_responder, ocsp=[answer(by)])


def test_a_responder_must_be_covered_with_the_whole_path_unless_it_is_exempt() -> None:
    of_the_root = crl(CHAIN.root, this_update=RECENTLY)
    arguments: dict[str, Any] = {"scope": RevocationScope.PATH}
    with pytest.raises(RevocationUnknown, match="nothing at hand tells whether the certificate 'CN=Responder"):
        check(of_the_root, ocsp=[answer(responder())], **arguments)
    assert check(of_the_root, ocsp=[answer(responder(NO_CHECK))], **arguments)[0].evidence


def test_v18_a_response_that_ended_before_the_moment_of_verification_is_stale() -> None:
    old = answer(this_update=GEN_TIME, produced_at=GEN_TIME)
    refused(r"the OCSP response r\.ocsp is stale", old)
    assert check(ocsp=[old], at=GEN_TIME + 7 * DAY)[0].evidence


def test_a_response_without_an_end_has_an_age_limit() -> None:
    refused("older than 7 days", answer(this_update=NOW - 8 * DAY, next_update=NO_END))
    assert check(ocsp=[answer(next_update=NO_END)])[0].evidence


def test_a_response_of_the_future_proves_nothing() -> None:
    refused("after", answer(this_update=NOW + DAY))


def test_v18_a_response_made_after_the_certificates_end_proves_nothing() -> None:
    short = issue("Short", issuer=CA, extensions=signer_extensions(), not_after=GEN_TIME + 10 * DAY)
    path = path_of(short)
    refused("does not say that it keeps", answer(certificate=short), path=path)
    kept = answer(certificate=short, extensions=[archive_cutoff(GEN_TIME)])
    assert check(ocsp=[kept], path=path)[0].evidence
    refused("keeps", answer(certificate=short, extensions=[archive_cutoff(NOW)]), path=path)


def test_an_invalidity_date_among_the_extensions_of_a_response() -> None:
    invalid = forge.extension("2.5.29.24", der.tlv(der.GENERALIZED_TIME, f"{BEFORE:%Y%m%d%H%M%S}Z".encode()))
    later: dict[str, Any] = {"revoked": AFTER, "reason": SUPERSEDED}
    assert check(ocsp=[answer(**later)])[0].status is RevocationStatus.REVOKED_LATER
    with pytest.raises(CertificateRevoked, match="invalid since"):
        check(ocsp=[answer(**later, extensions=[invalid])])


@pytest.mark.parametrize("where", ["response_extensions", "extensions"])
def test_an_unknown_critical_extension(where: str) -> None:
    unknown: dict[str, Any] = {where: (forge.extension("1.2.3.4", critical=True),)}
    refused(r"unknown critical extension, 1\.2\.3\.4", answer(**unknown))
    with pytest.raises(CertificateRevoked):
        check(ocsp=[answer(revoked=AFTER, reason=KEY_COMPROMISE, **unknown)])


@pytest.mark.parametrize(
    "identifier",
    [
        der.sequence(der.tlv(der.OCTET_STRING, der.oid(oids.SHA1)[2:])),
        der.sequence(der.oid(oids.SHA1), der.integer(1)),
        der.sequence(der.oid(oids.SHA1), der.null(), der.null()),
    ],
)
def test_a_cert_id_whose_hash_is_no_algorithm_identifier_proves_nothing(identifier: bytes) -> None:
    refused(r"r\.ocsp cannot be read: ", answer(hash_identifier=identifier))


def test_an_unsupported_hash_in_a_cert_id_is_named() -> None:
    refused(r"r\.ocsp cannot be read: .*1\.2\.3\.4", answer(hash_identifier=der.sequence(der.oid("1.2.3.4"))))


def test_a_responder_that_does_not_know_the_certificate() -> None:
    refused("does not know", answer(unknown=True))


def test_a_hold_ends_with_a_newer_response_or_list() -> None:
    held = answer(revoked=BEFORE, reason=HOLD, this_update=RECENTLY - DAY)
    with pytest.raises(CertificateRevoked, match="certificateHold"):
        check(ocsp=[held])
    assert check(ocsp=[held, answer()])[0].status is RevocationStatus.GOOD
    assert check(crl(CA, this_update=RECENTLY), ocsp=[held])[0].status is RevocationStatus.GOOD


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30\x03\x0a\x01\x00",
        answer()[:-1],
        answer() + b"\x00",
        der.sequence(b"\x0a\x01\x00", der.explicit(0, der.sequence(der.oid("1.2.3"), der.octet_string(b"")))),
    ],
)
def test_what_cannot_be_read_is_named(data: bytes) -> None:
    refused(r"the OCSP response r\.ocsp cannot be read", data)
