"""V19: a verdict says on whose word it rests, what was allowed for it, and what was not checked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from tests.conformance.verification import CHAIN, TRUST, granted, refused, signed_by, verify
from tsa_core.protocol.tstinfo import Accuracy
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import END, START, Issued, issue, key_usage, signer_extensions, timestamping
from tsa_core.verify import (
    PathError,
    Revocation,
    SignerCertificateError,
    TrustAnchor,
    TrustStore,
    VerifiedTimestamp,
    Verifier,
)

SECOND = Accuracy(microseconds=1_000_000)


def codes(result: VerifiedTimestamp) -> list[str]:
    return [note.code for note in result.unchecked]


def signer(**parts: object) -> Issued:
    return issue("Short", issuer=CHAIN.intermediate, extensions=signer_extensions(), **parts)  # type: ignore[arg-type]  # passed on


def test_v19_who_when_and_under_what() -> None:
    result = verify(granted(forge.tst_info(accuracy=SECOND)))
    assert (result.gen_time, result.policy, result.accuracy) == (forge.GEN_TIME, forge.POLICY, SECOND)
    assert result.trust_anchor == CHAIN.root.certificate
    assert result.notes == ()


def test_v19_no_revocation_data() -> None:
    assert codes(verify(granted(forge.tst_info(accuracy=SECOND)))) == ["no-revocation-data"]
    now = datetime.now(UTC)
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(CHAIN.intermediate.certificate.subject)
        .last_update(now - timedelta(hours=1))
        .next_update(now + timedelta(days=1))
        .sign(CHAIN.intermediate.key, hashes.SHA256())
    )
    result = verify(
        granted(forge.tst_info(accuracy=SECOND)),
        revocation=Revocation.from_files(crls=[crl.public_bytes(Encoding.DER)]),
    )
    assert result.revocation_checked
    assert codes(result) == []


def test_v19_a_certificate_that_ended() -> None:
    ended = signer(not_after=forge.GEN_TIME + timedelta(days=1))
    assert "certificate-ended" in codes(signed_by(ended, TRUST))
    assert "certificate-ended" not in codes(signed_by(signer(), TRUST))
    at_that_time = granted(chain=CHAIN, content=forge.tst_info())
    assert verify(at_that_time, time=END).checked_at == END


def test_v19_accuracy_unknown_or_crossing_an_end() -> None:
    assert "no-accuracy" in codes(verify(granted()))
    content = forge.tst_info(accuracy=SECOND)
    half = timedelta(milliseconds=500)
    late = signer(not_after=forge.GEN_TIME)
    assert "accuracy-crosses-end" in codes(signed_by(late, TRUST, content=content))
    early = signer(not_before=forge.GEN_TIME)
    assert "accuracy-crosses-begin" in codes(signed_by(early, TRUST, content=content))
    inside = signer(not_before=forge.GEN_TIME - 2 * half, not_after=forge.GEN_TIME + 2 * half)
    assert not {"accuracy-crosses-end", "accuracy-crosses-begin"} & set(
        codes(signed_by(inside, TRUST, content=content))
    )


def test_v19_a_time_that_is_ahead_of_the_verifiers_clock() -> None:
    now = datetime.now(UTC)
    hour, year = timedelta(hours=1), timedelta(days=365)
    assert "time-ahead" in codes(verify(granted(forge.tst_info(gen_time=now + year))))
    assert "time-ahead" in codes(verify(granted(forge.tst_info(gen_time=now + hour, accuracy=SECOND))))
    for honest in (now - hour, now + timedelta(minutes=1)):
        assert "time-ahead" not in codes(verify(granted(forge.tst_info(gen_time=honest))))


def test_v19_an_allowance_is_said_whether_it_was_used_or_not() -> None:
    lax = issue("Lax", issuer=CHAIN.intermediate, extensions=(timestamping(critical=False), key_usage(sign=True)))
    refused(SignerCertificateError, "V7", lambda: signed_by(lax, TRUST))
    reply = forge.reply(forge.token(lax, certificates=[lax.der]))
    result = Verifier(TRUST, allow=["noncritical-eku", "sha1"]).verify_response(reply, artifact=b"hello")
    assert [note.code for note in result.notes] == ["allowed-noncritical-eku", "allowance-unused"]
    with pytest.raises(ValueError, match="nothing is called 'sha-1'"):
        Verifier(TRUST, allow=["sha-1"])


@pytest.mark.parametrize(
    ("trusted_from", "trusted_until", "words"),
    [
        (forge.GEN_TIME + timedelta(seconds=1), None, "is trusted from"),
        (None, forge.GEN_TIME - timedelta(seconds=1), "is trusted until"),
    ],
)
def test_v19_a_root_is_trusted_within_its_window_only(
    trusted_from: datetime | None, trusted_until: datetime | None, words: str
) -> None:
    def store(begin: datetime | None, end: datetime | None) -> TrustStore:
        anchor = TrustAnchor(certificate=CHAIN.root.certificate, trusted_from=begin, trusted_until=end)
        return TrustStore(roots=(anchor,), certificates=(CHAIN.intermediate.certificate,))

    assert verify(granted(), trust=store(forge.GEN_TIME, forge.GEN_TIME)).trust_anchor == CHAIN.root.certificate
    assert verify(granted(), trust=store(START, None)).trust_anchor == CHAIN.root.certificate
    error = refused(PathError, "V8", lambda: verify(granted(), trust=store(trusted_from, trusted_until)))
    assert words in str(error)
    verifier = Verifier(store(forge.GEN_TIME, forge.GEN_TIME))
    assert verifier.verify_response(granted(), artifact=b"hello").status == 0
    later = granted(forge.tst_info(gen_time=forge.GEN_TIME + timedelta(seconds=1)))
    refused(PathError, "V8", lambda: verifier.verify_response(later, artifact=b"hello"))


@pytest.mark.parametrize("brought_by", ["token", "certificates", "tsa_certificate"])
def test_v19_a_signer_that_is_trusted_for_a_time_is_so_whoever_brings_its_certificate(brought_by: str) -> None:
    signer = CHAIN.signer.certificate
    reply = granted(certificates=[CHAIN.signer.der] if brought_by == "token" else [])
    arguments = {"tsa_certificate": signer} if brought_by == "tsa_certificate" else {}
    others = (signer,) if brought_by == "certificates" else ()

    def store(end: datetime) -> TrustStore:
        return TrustStore(roots=(TrustAnchor(certificate=signer, trusted_until=end),), certificates=others)

    assert verify(reply, trust=store(forge.GEN_TIME), **arguments).trust_anchor == signer
    early = store(forge.GEN_TIME - timedelta(seconds=1))
    error = refused(PathError, "V8", lambda: verify(reply, trust=early, **arguments))
    assert "is trusted until" in str(error)


def test_v19_a_root_with_two_windows_is_a_mistake() -> None:
    root = CHAIN.root.certificate
    with pytest.raises(ValueError, match="twice"):
        TrustStore(roots=(root, TrustAnchor(certificate=root, trusted_until=END)))


def test_v19_a_keyword_that_does_not_exist_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'polices'"):
        verify(granted(), polices=["1.2.3"])
    with pytest.raises(TypeError, match="no effect without algorithm_periods"):
        verify(granted(), proofs=[granted()])
