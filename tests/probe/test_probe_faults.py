"""A probe finds every fault, by the check that is made for it, and none in a good authority."""

from __future__ import annotations

import pytest

from tests.probe.faults import FAULTS, Fault, faulty
from tests.probe.faulty_authority import CHAIN, FaultyAuthority, HttpAnswer, HttpRequest, make_signer, serving
from tsa_core.probe import CHECKS, Outcome, probe
from tsa_core.probe.cases import TRUE
from tsa_core.testing.forged_pki import name

ELSEWHERE = {"old-tls", "tls-lifetime", "revocation-answers", "not-revoked"}
"""Checks whose faults need TLS or a place for CRLs: test_probe_of_tls and test_probe_online find them."""


def test_a_good_authority_has_no_fault() -> None:
    with serving(FaultyAuthority()) as url:
        report = probe(url, rate=1000, trust=CHAIN.pem, clock_bound=0.5)
    assert [f"{each.check.id}: {each.text}" for each in report.failed()] == []
    assert report.grade.letter == "A+"
    assert report.stopped == ""
    unseen = {each.check.id for each in report.results if each.outcome is Outcome.UNSEEN}
    assert unseen == {"revocation-answers", "not-revoked"}
    assert all(each.text for each in report.results if each.outcome in {Outcome.UNSEEN, Outcome.DOES_NOT_APPLY})


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_found_by_its_checks_and_no_other_one(fault: Fault) -> None:
    with serving(faulty(fault.name)) as url:
        report = probe(url, rate=1000, trust=CHAIN.pem, clock_bound=0.5, checks=fault.fails)
    failed = {each.check.id: each.text for check in CHECKS if (each := check.run(report.evidence)).fails}
    assert failed.keys() == set(fault.fails), failed
    assert all(failed.values())
    assert {each.check.id for each in report.failed()} == failed.keys()


def test_a_signer_named_by_its_key_is_found_and_judged() -> None:
    with serving(faulty("named_by_key")) as url:
        report = probe(url, rate=1000, trust=CHAIN.pem, clock_bound=0.5)
    assert [each.check.id for each in report.failed()] == ["signer-identifier"]
    unseen = {each.check.id for each in report.results if each.outcome is Outcome.UNSEEN}
    assert unseen == {"revocation-answers", "not-revoked"}


def test_a_signature_that_nobody_could_check_is_not_called_good() -> None:
    authority, hidden = FaultyAuthority(), make_signer(subject=name("A unit without its certificate"))
    usual = authority.signer
    authority.before = lambda body: setattr(authority, "signer", usual if TRUE in body[-8:] else hidden)
    with serving(authority) as url:
        report = probe(url, rate=1000, trust=CHAIN.pem, checks=["verifies"])
    (found,) = report.results
    assert (found.outcome, found.text) == (
        Outcome.UNSEEN,
        "the signatures of 1 of 2 tokens: no token brought their signer's certificate",
    )


def test_what_was_found_counts_although_something_else_was_not_seen() -> None:
    authority = FaultyAuthority()
    authority.tolerates = lambda _, body: body[2:5] == b"\x02\x01\x00"
    hung_up = iter([False, True])

    def change(_request: HttpRequest, answer: HttpAnswer) -> None:
        answer.status = 0 if next(hung_up, False) else answer.status

    authority.http = change
    with serving(authority) as url:
        report = probe(url, rate=1000, checks=["version"])
    assert [(each.check.id, each.text) for each in report.failed()] == [("version", "granted (version 0)")]


def test_every_check_has_a_fault_that_it_finds() -> None:
    found = {fault.fails[0] for fault in FAULTS}
    assert {each.id for each in CHECKS} - found == ELSEWHERE
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
