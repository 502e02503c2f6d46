"""`--conformance`: which demands of a standard an authority meets, as far as shows from outside."""

from __future__ import annotations

import pytest

from tests.probe.faulty_authority import CHAIN, FaultyAuthority, serving
from tsa_core.probe import STANDARDS, Demand, Report, html_page, probe
from tsa_core.protocol import der


def judged(
    authority: FaultyAuthority, name: str, *, trust: bytes | None = CHAIN.pem
) -> tuple[Report, dict[str, Demand]]:
    with serving(authority) as url:
        report = probe(url, rate=1000, trust=trust, conformance=[name], checks=["granted", "no-nonce"])
    (verdict,) = report.standards
    return report, {each.name: each for each in verdict.demands}


@pytest.mark.parametrize("name", STANDARDS)
def test_each_standard_is_judged_by_tokens_and_chain(name: str) -> None:
    report, demands = judged(FaultyAuthority(), name)
    outcomes = {each.outcome for each in demands.values()}
    assert {"pass", "not judged"} <= outcomes <= {"pass", "fail", "warn", "not judged"}
    assert all(each.reason for each in demands.values() if each.outcome != "pass")
    assert all(each.clause for each in demands.values())
    document = report.document()["Conformance"][0]
    assert document["Standard"] == name
    assert len(document["Demands"]) == len(demands)
    assert "as far as shows from outside" in html_page(report)


def test_a_demand_that_a_token_breaks() -> None:
    authority = FaultyAuthority()
    authority.statement = lambda _request, fields: fields.update(accuracy=der.sequence(der.integer(60)))
    report, demands = judged(authority, "etsi")
    broken = [each for each in demands.values() if each.outcome == "fail" and "accuracy" in each.name]
    assert len(broken) == 1
    assert "EN 319" in broken[0].clause
    assert report.grade.letter == "A+", "a standard has no effect on the grade"
    good = judged(FaultyAuthority(), "etsi")[1]
    assert good[broken[0].name].outcome == "pass"


def test_no_chain_is_judged_that_nobody_trusts() -> None:
    with_trust = judged(FaultyAuthority(), "etsi")[1]
    without = judged(FaultyAuthority(), "etsi", trust=None)[1]
    chain_rules = [name for name, each in without.items() if each.reason == "no certificate chain was given"]
    assert len(chain_rules) > 5
    assert {with_trust[name].outcome for name in chain_rules} <= {"pass", "fail", "warn", "not judged"}
    assert any(with_trust[name].outcome == "pass" for name in chain_rules)


def test_what_only_the_operator_sees_is_not_judged() -> None:
    demands = judged(FaultyAuthority(), "etsi")[1]
    assert [name for name, each in demands.items() if "operator" in each.reason and each.outcome != "not judged"] == []
    assert any("operator" in each.reason for each in demands.values())


def test_an_unknown_standard_is_an_error_before_anything_is_sent() -> None:
    with pytest.raises(ValueError, match="there is no standard 'iso'; there are etsi, csbr, sigstore"):
        probe("http://127.0.0.1:9", conformance=["iso"])
