"""V20: a weak algorithm by date, only with a proof that the token existed while it was strong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tests.conformance.verification import refused
from tsa_core.protocol import der
from tsa_core.protocol.certificate import certificate_fields
from tsa_core.protocol.hashes import SHA1, SHA256
from tsa_core.protocol.signatures import signature_algorithm
from tsa_core.testing import forge, shared_key
from tsa_core.testing.forged_pki import Chain, Issued, ca_extensions, issue, make_key, signer_extensions
from tsa_core.testing.forged_revocation import crl, entry
from tsa_core.verify import (
    DEFAULT_PERIODS,
    CertificateRevoked,
    PathError,
    ProofMissing,
    Revocation,
    RevocationUnknown,
    TrustStore,
    VerifiedTimestamp,
    WeakAlgorithm,
    verify_response,
    verify_token,
)

BEGIN = datetime(2005, 1, 1, tzinfo=UTC)
THEN = datetime(2012, 5, 1, tzinfo=UTC)
END_OF_SHA1 = next(period.until for period in DEFAULT_PERIODS if period.algorithm == "sha1")


def chain(kind: str = "p256", signer_kind: str = "p256") -> Chain:
    root = issue("Root", key=make_key(kind), extensions=ca_extensions(), not_before=BEGIN)
    issuing = issue("Issuing", issuer=root, key=make_key(kind), extensions=ca_extensions(0), not_before=BEGIN)
    signer = issue("Old", issuer=issuing, key=make_key(signer_kind), extensions=signer_extensions(), not_before=BEGIN)
    return Chain(root=root, intermediate=issuing, signer=signer)


OLD, SHORT = chain(), chain(signer_kind="rsa1024")
RSA = signature_algorithm(shared_key("rsa-2048").public_key())
"""The algorithm of RSA keys; for a short key, nobody would name it."""
TRUST = TrustStore(roots=(OLD.root.certificate, SHORT.root.certificate))


def stamped(data: bytes, time: datetime, *, weak: bool = False, by: Chain = OLD) -> bytes:
    algorithm = SHA1 if weak else SHA256
    content = forge.tst_info(data, hash_algorithm=algorithm, gen_time=time)
    certificates = [by.signer.der, by.intermediate.der]
    signing = RSA if by is SHORT else None
    return forge.reply(forge.token(by.signer, content, certificates=certificates, algorithm=signing))


def verify(reply: bytes, *proofs: bytes, **expectations: Any) -> VerifiedTimestamp:
    expectations.setdefault("algorithm_periods", DEFAULT_PERIODS)
    return verify_response(reply, trust=TRUST, artifact=b"hello", proofs=proofs, **expectations)


WEAK = stamped(b"hello", THEN, weak=True)
PROOF = stamped(WEAK, THEN + timedelta(days=30))


def test_v20_a_sha1_token_alone_is_refused_however_old_it_says_it_is() -> None:
    refused(WeakAlgorithm, "V15", lambda: verify(WEAK, algorithm_periods=()))
    error = refused(ProofMissing, "V20", lambda: verify(WEAK))
    assert "no later timestamp proves" in str(error)


def test_v20_a_later_timestamp_from_before_the_end_proves_it_and_the_verdict_says_so() -> None:
    result = verify(WEAK, PROOF)
    assert result.proof is not None
    assert result.proof.gen_time == THEN + timedelta(days=30)
    assert {note.code for note in result.notes} == {"strong-by-date"}
    assert "2012-05-31" in result.notes[0].text
    assert "TS 119 312 V2.1.1" in result.notes[0].text


def test_v20_a_proof_may_be_over_the_token_or_over_a_bare_token() -> None:
    token = forge.token(
        OLD.signer,
        forge.tst_info(hash_algorithm=SHA1, gen_time=THEN),
        certificates=[OLD.signer.der, OLD.intermediate.der],
    )
    proof = stamped(token, THEN + timedelta(days=1))
    assert verify(forge.reply(token), proof).proof is not None
    bare = verify_token(token, trust=TRUST, artifact=b"hello", proofs=[proof], algorithm_periods=DEFAULT_PERIODS)
    assert bare.proof is not None


def test_v20_a_proof_from_after_the_end_proves_nothing() -> None:
    assert verify(WEAK, stamped(WEAK, END_OF_SHA1)).proof is not None
    late = stamped(WEAK, END_OF_SHA1 + timedelta(seconds=1))
    assert "came after its end" in str(refused(ProofMissing, "V20", lambda: verify(WEAK, late)))


def test_v20_a_proof_is_about_this_timestamp_and_not_older_than_it() -> None:
    refused(ProofMissing, "V20", lambda: verify(WEAK, stamped(b"hello", THEN + timedelta(days=30))))
    error = refused(ProofMissing, "V20", lambda: verify(WEAK, stamped(WEAK, THEN - timedelta(days=1))))
    assert "older than the timestamp" in str(error)


def test_v20_a_proof_is_verified_itself() -> None:
    stranger = chain()
    with pytest.raises(PathError, match=r"leads to none of the trusted roots|is not one by"):
        verify(WEAK, stamped(WEAK, THEN + timedelta(days=1), by=stranger))
    weak_proof = stamped(WEAK, THEN + timedelta(days=1), weak=True)
    refused(ProofMissing, "V20", lambda: verify(WEAK, weak_proof))
    result = verify(WEAK, weak_proof, stamped(weak_proof, THEN + timedelta(days=2)))
    assert result.proof is not None
    assert result.proof.proof is not None


def test_v20_a_short_rsa_key_by_date() -> None:
    reply = stamped(b"hello", THEN, by=SHORT)
    refused(WeakAlgorithm, "V15", lambda: verify(reply, algorithm_periods=()))
    refused(ProofMissing, "V20", lambda: verify(reply))
    result = verify(reply, stamped(reply, THEN + timedelta(days=1)))
    assert [note.code for note in result.notes] == ["strong-by-date"]
    assert [note.code for note in verify(reply, allow=["rsa1024"]).notes] == ["allowed-rsa1024"]


def test_v20_allowed_outright() -> None:
    result = verify(WEAK, allow=["sha1"], algorithm_periods=())
    assert [note.code for note in result.notes] == ["allowed-sha1"]
    strong = stamped(b"hello", THEN)
    assert verify(strong, stamped(strong, THEN)).notes == ()


def signed_with_sha1(issued: Issued, issuer: Issued) -> Issued:
    """Return the certificate with a signature that cryptography makes no more: ECDSA with SHA-1."""
    ecdsa_with_sha1 = der.sequence(der.oid("1.2.840.10045.4.1"))
    fields = certificate_fields(issued.der)
    body = issued.certificate.tbs_certificate_bytes
    _, start, end = der.read(body, 0, len(body))
    signed = der.sequence(body[start:end].replace(fields.signature, ecdsa_with_sha1, 1))
    assert isinstance(issuer.key, ec.EllipticCurvePrivateKey)
    signature = issuer.key.sign(signed, ec.ECDSA(hashes.SHA1()))
    encoded = der.sequence(signed, ecdsa_with_sha1, der.tlv(der.BIT_STRING, b"\x00" + signature))
    return Issued(key=issued.key, certificate=x509.load_der_x509_certificate(encoded))


def test_v20_a_proof_covers_what_is_in_the_token_alone() -> None:
    weakly_issued = signed_with_sha1(OLD.signer, OLD.intermediate)
    content = forge.tst_info(b"hello", gen_time=THEN)
    whole = forge.reply(forge.token(weakly_issued, content, certificates=[weakly_issued.der, OLD.intermediate.der]))
    proof = stamped(whole, THEN + timedelta(days=1))
    assert [note.code for note in verify(whole, proof).notes] == ["strong-by-date"]
    bare = forge.reply(forge.token(weakly_issued, content))
    store = TrustStore(roots=TRUST.roots, certificates=(weakly_issued.certificate, OLD.intermediate.certificate))
    proof = stamped(bare, THEN + timedelta(days=1))
    error = refused(
        ProofMissing,
        "V20",
        lambda: verify_response(
            bare, trust=store, artifact=b"hello", proofs=[proof], algorithm_periods=DEFAULT_PERIODS
        ),
    )
    assert "not in the token" in str(error)


def test_v20_revocation_data_must_cover_the_signers_of_proofs_too() -> None:
    other, now = chain(), datetime.now(UTC)
    trust = TrustStore(roots=(OLD.root.certificate, other.root.certificate))
    proof = stamped(WEAK, THEN + timedelta(days=1), by=other)

    def verify_with(*crls: bytes, **more: Any) -> VerifiedTimestamp:
        revocation = Revocation.from_files(crls)
        return verify_response(
            WEAK,
            trust=trust,
            artifact=b"hello",
            proofs=[proof],
            algorithm_periods=DEFAULT_PERIODS,
            revocation=revocation,
            **more,
        )

    of_signer, of_proof = crl(OLD.intermediate, this_update=now), crl(other.intermediate, this_update=now)
    result = verify_with(of_signer, of_proof)
    assert result.proof is not None
    assert result.revocation_checked
    assert result.proof.revocation_checked
    refused(RevocationUnknown, "V9", lambda: verify_with(of_signer))
    compromised = entry(other.signer, now, 1)
    refused(
        CertificateRevoked, "V9", lambda: verify_with(of_signer, crl(other.intermediate, compromised, this_update=now))
    )
    # Evidence about both speaks for the moment that the caller names.
    moment = THEN + timedelta(days=60)
    old = [crl(each.intermediate, this_update=moment, next_update=moment + timedelta(days=1)) for each in (OLD, other)]
    refused(RevocationUnknown, "V9", lambda: verify_with(*old))
    result = verify_with(*old, time=moment)
    assert result.proof is not None
    assert result.proof.checked_at == result.checked_at == moment


def test_v20_the_default_ends_are_the_earlier_ones_of_etsi_and_nist() -> None:
    """ETSI TS 119 312 V2.1.1, annex D: SHA-1 < 2012-08-01, RSA 1024 < 2019-10-01; NIST SP 800-131A: both after 2013."""
    etsi = {"sha1": datetime(2012, 8, 1, tzinfo=UTC), "rsa1024": datetime(2019, 10, 1, tzinfo=UTC)}
    nist = datetime(2014, 1, 1, tzinfo=UTC)
    second = timedelta(seconds=1)
    assert {p.algorithm: p.until + second for p in DEFAULT_PERIODS} == {a: min(e, nist) for a, e in etsi.items()}
