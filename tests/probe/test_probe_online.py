"""`--online`: CRLs and OCSP responders that the certificates name, on loopback."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.probe.faulty_authority import CHAIN, FaultyAuthority, make_signer, revocation, serving
from tsa_core.probe import Outcome, Report, probe
from tsa_core.testing import forged_revocation
from tsa_core.testing.forged_pki import key_usage, signer_extensions, timestamping
from tsa_core.testing.http_tsa import Answer, HttpTsa

CHECKS = ["revocation-answers", "not-revoked"]
NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


def outcomes(report: Report) -> dict[str, Outcome]:
    return {each.check.id: each.outcome for each in report.results}


def judged(answer: Answer | None, *, revoked: bool = False, trust: bytes | None = CHAIN.pem) -> tuple[Report, int]:
    """Return the report on an authority whose CRL is this answer, or a good one; and how often it was asked."""
    authority = FaultyAuthority()
    with HttpTsa(lambda _: answer or Answer(status=500)) as place:
        authority.signer = make_signer(extensions=(*signer_extensions(), revocation(f"{place.origin}/ca.crl")))
        if answer is None:
            entries = [forged_revocation.entry(authority.signer, NOW - DAY, reason=1)] if revoked else []
            made = forged_revocation.crl(CHAIN.intermediate, *entries, this_update=NOW - DAY, next_update=NOW + DAY)
            place.answer = lambda _: Answer(body=made)
        with serving(authority) as url:
            report = probe(url, rate=1000, trust=trust, online=True, checks=CHECKS)
        return report, len(place.received)


def test_a_crl_that_answers() -> None:
    report, asked = judged(None)
    assert outcomes(report) == {"revocation-answers": Outcome.HOLDS, "not-revoked": Outcome.HOLDS}, report.results
    assert asked > 0


def test_a_revoked_signer() -> None:
    report, _ = judged(None, revoked=True)
    assert outcomes(report) == {"revocation-answers": Outcome.HOLDS, "not-revoked": Outcome.FAILS}
    assert report.grade.letter == "F"
    assert "revoked" in report.grade.reasons[0]


@pytest.mark.parametrize("answer", [Answer(status=404), Answer(body=b"<html>"), Answer(body=b"\x30\x03\x02\x01\x01")])
def test_a_place_without_a_crl(answer: Answer) -> None:
    report, _ = judged(answer)
    assert outcomes(report)["revocation-answers"] is Outcome.FAILS
    assert outcomes(report)["not-revoked"] is Outcome.UNSEEN


def test_without_roots_nobody_says_whose_crl_counts() -> None:
    report, asked = judged(None, revoked=True, trust=None)
    assert outcomes(report) == {"revocation-answers": Outcome.HOLDS, "not-revoked": Outcome.UNSEEN}
    assert asked > 0


def test_nothing_is_asked_without_the_flag() -> None:
    authority = FaultyAuthority()
    with HttpTsa(lambda _: Answer(status=500)) as place:
        authority.signer = make_signer(extensions=(*signer_extensions(), revocation(f"{place.origin}/ca.crl")))
        with serving(authority) as url:
            report = probe(url, rate=1000, trust=CHAIN.pem, checks=CHECKS)
        assert place.received == []
    assert set(outcomes(report).values()) == {Outcome.UNSEEN}


def test_certificates_that_name_no_place() -> None:
    authority = FaultyAuthority()
    authority.signer = make_signer(extensions=(timestamping(), key_usage(sign=True)))
    with serving(authority) as url:
        report = probe(url, rate=1000, trust=CHAIN.pem, online=True, checks=CHECKS)
    assert outcomes(report)["revocation-answers"] is Outcome.DOES_NOT_APPLY
    assert outcomes(report)["not-revoked"] is Outcome.UNSEEN
