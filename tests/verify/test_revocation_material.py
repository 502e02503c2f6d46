"""CRLs and OCSP responses: which count, and what they say (rule V9)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from tsa_core.testing import forge
from tsa_core.testing.forged_pki import (
    Extension,
    Issued,
    ca_extensions,
    issue,
    key_usage,
    make_chain,
    signer_extensions,
)
from tsa_core.verify import (
    CertificateRevoked,
    Revocation,
    RevocationScope,
    RevocationUnknown,
    TrustStore,
    VerifiedTimestamp,
    verify_response,
)

CHAIN = make_chain()
TRUST = TrustStore.from_chain(CHAIN.pem)
REPLY = forge.reply(forge.token(CHAIN.signer, certificates=[CHAIN.signer.der]))
DAY = timedelta(days=1)
BEFORE, AFTER = forge.GEN_TIME - DAY, forge.GEN_TIME + DAY


def check(**material: Any) -> VerifiedTimestamp:
    return verify_response(REPLY, artifact=b"hello", trust=TRUST, revocation=Revocation(**material), time=AFTER)


def responder(*, extensions: tuple[Extension, ...] = (), issuer: Issued = CHAIN.intermediate) -> Issued:
    return issue("Responder", issuer=issuer, extensions=(key_usage(sign=True), *extensions))


OCSP_SIGNING: Extension = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), False)


def response(
    *,
    certificate: Issued = CHAIN.signer,
    issuer: Issued = CHAIN.intermediate,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    since: datetime | None = None,
    reason: x509.ReasonFlags | None = None,
    this_update: datetime = AFTER,
    next_update: datetime | None = AFTER + DAY,
    by: Issued | None = None,
    include: bool = True,
    algorithm: hashes.HashAlgorithm | None = None,
) -> ocsp.OCSPResponse:
    by = by or issuer
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=certificate.certificate,
        issuer=issuer.certificate,
        algorithm=algorithm or hashes.SHA1(),
        cert_status=status,
        this_update=this_update,
        next_update=next_update,
        revocation_time=since,
        revocation_reason=reason,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.NAME, by.certificate)
    if by is not issuer and include:
        builder = builder.certificates([by.certificate])
    return builder.sign(by.key, hashes.SHA256())


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256()])
def test_ocsp_good(algorithm: hashes.HashAlgorithm) -> None:
    assert check(ocsp_responses=(response(algorithm=algorithm),)).status == 0


REASONS = [None, *(flag for flag in x509.ReasonFlags if flag is not x509.ReasonFlags.remove_from_crl)]


@pytest.mark.parametrize("reason", REASONS)
def test_ocsp_revoked(reason: x509.ReasonFlags | None) -> None:
    revoked = ocsp.OCSPCertStatus.REVOKED
    before = response(status=revoked, since=BEFORE, reason=reason)
    after = response(status=revoked, since=AFTER, reason=reason)
    with pytest.raises(CertificateRevoked):
        check(ocsp_responses=(before,))
    if reason in {
        x509.ReasonFlags.unspecified,
        x509.ReasonFlags.affiliation_changed,
        x509.ReasonFlags.superseded,
        x509.ReasonFlags.cessation_of_operation,
    }:
        assert check(ocsp_responses=(after,)).status == 0
    else:
        with pytest.raises(CertificateRevoked):
            check(ocsp_responses=(after,))


def test_ocsp_by_an_appointed_responder() -> None:
    good = responder(extensions=(OCSP_SIGNING,))
    assert check(ocsp_responses=(response(by=good),)).status == 0


@pytest.mark.parametrize(
    "useless",
    [
        response(by=responder()),
        response(by=responder(extensions=(OCSP_SIGNING,), issuer=CHAIN.root)),
        response(by=responder(extensions=(OCSP_SIGNING,)), include=False),
        response(by=issue("Stranger", extensions=(OCSP_SIGNING,))),
        response(status=ocsp.OCSPCertStatus.UNKNOWN),
        response(certificate=CHAIN.intermediate, issuer=CHAIN.root),
        response(certificate=issue("Other", issuer=CHAIN.intermediate, extensions=signer_extensions())),
        response(this_update=BEFORE - DAY, next_update=BEFORE),
        response(this_update=AFTER - 8 * DAY, next_update=None),
        ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER),
    ],
    ids=[
        *("not appointed", "appointed by another", "certificate missing", "stranger", "unknown", "of the CA"),
        *("of another", "ended", "old without an end", "unsuccessful"),
    ],
)
def test_ocsp_that_tells_nothing(useless: ocsp.OCSPResponse) -> None:
    with pytest.raises(RevocationUnknown):
        check(ocsp_responses=(useless,))


def test_a_bad_word_outweighs_a_good_one() -> None:
    revoked = response(status=ocsp.OCSPCertStatus.REVOKED, since=AFTER, reason=x509.ReasonFlags.key_compromise)
    for order in ((response(), revoked), (revoked, response())):
        with pytest.raises(CertificateRevoked):
            check(ocsp_responses=order)


def crl(*extensions: Extension, issuer: Issued = CHAIN.intermediate) -> x509.CertificateRevocationList:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(BEFORE)
        .next_update(AFTER)
    )
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    return builder.sign(issuer.key, hashes.SHA256())


def scope(**flags: Any) -> Extension:
    parts = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
        **flags,
    }
    return x509.IssuingDistributionPoint(**parts), True


@pytest.mark.parametrize(
    ("extensions", "good"),
    [
        ((), True),
        (((x509.CRLNumber(7), False),), True),
        ((scope(only_contains_user_certs=True),), True),
        ((scope(only_contains_ca_certs=True),), False),
        ((scope(only_contains_attribute_certs=True),), False),
        ((scope(indirect_crl=True),), True),
        ((scope(only_some_reasons=frozenset({x509.ReasonFlags.key_compromise})),), False),
        ((scope(full_name=[x509.UniformResourceIdentifier("http://crl.example/1")]),), False),
        (((x509.DeltaCRLIndicator(6), True),), False),
        (((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True),), False),
        (((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), False),), True),
    ],
)
def test_crls_of_limited_scope(extensions: tuple[Extension, ...], good: bool) -> None:
    if good:
        assert check(crls=(crl(*extensions),)).status == 0
    else:
        with pytest.raises(RevocationUnknown):
            check(crls=(crl(*extensions),))


def test_a_crl_for_the_signers_distribution_point() -> None:
    point = [x509.UniformResourceIdentifier("http://crl.example/1")]
    points = x509.CRLDistributionPoints([x509.DistributionPoint(point, None, None, None)])
    signer = issue("Pointed", issuer=CHAIN.intermediate, extensions=(*signer_extensions(), (points, False)))
    reply = forge.reply(forge.token(signer, certificates=[signer.der]))
    revocation = Revocation(crls=(crl(scope(full_name=point)),))
    assert verify_response(reply, artifact=b"hello", trust=TRUST, revocation=revocation, time=AFTER).status == 0


def test_a_ca_that_may_not_sign_crls() -> None:
    ca = issue("CA", issuer=CHAIN.root, extensions=(ca_extensions()[0], key_usage(certificates=True)))
    signer = issue("Signer", issuer=ca, extensions=signer_extensions())
    reply = forge.reply(forge.token(signer, certificates=[signer.der, ca.der]))
    with pytest.raises(RevocationUnknown, match="CRL"):
        verify_response(
            reply, artifact=b"hello", trust=TRUST, revocation=Revocation(crls=(crl(issuer=ca),)), time=AFTER
        )


def test_the_whole_path_with_both_kinds() -> None:
    root_word = response(certificate=CHAIN.intermediate, issuer=CHAIN.root)
    material = {"crls": (crl(),), "ocsp_responses": (root_word,), "scope": RevocationScope.PATH}
    assert check(**material).status == 0


def test_files_that_are_not_what_they_should_be() -> None:
    cases: list[dict[str, Any]] = [
        {"crls": [b"x"]},
        {"ocsp_responses": [b"x"]},
        {"crls": [b"-----BEGIN X509 CRL-----"]},
    ]
    for arguments in cases:
        with pytest.raises(RevocationUnknown, match="cannot be read"):
            Revocation.from_files(**arguments)
