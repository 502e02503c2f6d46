"""An authority of several units, each with a key of its own, behind one address."""

from __future__ import annotations

from itertools import cycle

from tests.probe.faulty_authority import CHAIN, FaultyAuthority, make_signer, serving
from tsa_core.probe import Report, probe
from tsa_core.testing.forged_pki import Issued, key_usage, make_chain, name, timestamping


def judged(*signers: Issued) -> Report:
    authority, turns = FaultyAuthority(), cycle(signers)

    def change_units(_body: bytes) -> None:
        authority.signer = next(turns)

    authority.before = change_units
    with serving(authority) as url:
        return probe(url, rate=1000, trust=CHAIN.pem, clock_bound=0.5)


def test_units_that_take_turns_are_judged_good() -> None:
    report = judged(make_signer(subject=name("Unit 1")), make_signer(subject=name("Unit 2")))
    assert [f"{each.check.id}: {each.text}" for each in report.failed()] == []
    assert report.grade.letter == "A+"
    assert report.facts["Signer"] == "CN=Unit 1,O=tsa-core tests; CN=Unit 2,O=tsa-core tests"


def test_a_fault_of_one_unit_is_found_and_names_it() -> None:
    bad = make_signer(subject=name("Unit 2"), extensions=(timestamping(), key_usage(sign=True)))
    report = judged(make_signer(subject=name("Unit 1")), bad)
    failed = {each.check.id: each.text for each in report.failed()}
    assert failed.keys() == {"revocation-pointers", "size-stable"}
    assert "Unit 2" in failed["revocation-pointers"]
    assert "Unit 1" not in failed["revocation-pointers"]


def test_a_unit_below_another_root_is_found() -> None:
    report = judged(make_signer(subject=name("Unit 1")), make_signer(subject=name("Unit 2"), chain=make_chain()))
    failed = {each.check.id: each.text for each in report.failed()}
    assert "Unit 2" in failed["path"]
    assert "Unit 1" not in failed["path"]
