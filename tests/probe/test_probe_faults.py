"""A probe finds every fault, by the check that is made for it, and none in a good authority."""

from __future__ import annotations

import pytest

from tests.probe.faults import FAULTS, Fault
from tests.probe.faulty_authority import CHAIN, FaultyAuthority, serving
from tsa_core.probe import CHECKS, Outcome, probe

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
def test_a_fault_is_found_by_its_checks(fault: Fault) -> None:
    authority = FaultyAuthority()
    fault.put(authority)
    with serving(authority) as url:
        report = probe(url, rate=1000, trust=CHAIN.pem, clock_bound=0.5, checks=fault.fails)
    assert {each.check.id for each in report.failed()} == fault.fails, [
        (each.check.id, each.outcome.value, each.text) for each in report.results
    ]
    assert all(each.text for each in report.failed())


def test_every_check_has_a_fault_that_it_finds() -> None:
    found = {name for fault in FAULTS for name in fault.fails}
    assert {each.id for each in CHECKS} - found == ELSEWHERE
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
