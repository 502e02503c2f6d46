"""Each rule passes for a right chain and fails for one that breaks it; no rule is without a chain that does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cryptography import x509

from tests.certs.broken_chains import BREAKS, Break
from tests.certs.chains_to_break import case_of, right_chain
from tsa_core.conformance.chains import PROFILES, START_RULES, Outcome, Rule, judge, rules_of
from tsa_core.conformance.chains.profiles import COMMON_RULES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operate" / "certificates.md"
_ROW = r"^\| `([a-z0-9-]+)` \| (must|should) \| ([^|]*) \| ([^|]*) \|$"
RULES = {rule.name: rule for rule in rules_of(PROFILES)}


def test_a_right_chain_fulfils_every_rule_of_every_profile() -> None:
    findings = judge(case_of(right_chain()).replace(fraction_digits=[0]), PROFILES)
    assert [f for f in findings if f.outcome is not Outcome.PASS] == []
    assert len(findings) == len(RULES)


@pytest.mark.parametrize(("name", "function"), BREAKS, ids=[name for name, _ in BREAKS])
def test_a_chain_that_breaks_a_rule_fails_it(name: str, function: Break) -> None:
    parts = right_chain()
    case = function(parts) or case_of(parts)
    rule = RULES[name]
    finding = rule.judge(case)
    assert finding.outcome is (Outcome.FAIL if rule.level == "must" else Outcome.WARN), finding
    assert finding.reason
    assert "\n" not in finding.reason


def test_every_rule_is_broken_by_some_chain() -> None:
    assert {name for name, _ in BREAKS} == set(RULES)


@pytest.mark.parametrize(("name", "function"), BREAKS, ids=[name for name, _ in BREAKS])
def test_no_rule_crashes_on_a_broken_chain(name: str, function: Break) -> None:
    parts = right_chain()
    case = function(parts) or case_of(parts)
    for finding in judge(case, PROFILES):
        assert "malformed" not in finding.reason, finding


def test_a_malformed_extension_fails_and_does_not_crash() -> None:
    parts = right_chain()
    parts[0].drop(x509.ExtendedKeyUsage)
    parts[0].set(x509.UnrecognizedExtension(x509.ExtendedKeyUsage.oid, b"\x04\x01x"), True)
    findings = judge(case_of(parts), PROFILES)
    assert any("malformed" in finding.reason for finding in findings if finding.outcome is Outcome.FAIL)


def test_a_self_issued_ca_counts_for_no_path_length() -> None:
    """RFC 5280 6.1.4 (l): a CA that changed its key may stand in the chain twice."""
    leaf, middle, root = right_chain()
    former = right_chain()[1]
    middle.set(x509.AuthorityKeyIdentifier.from_issuer_public_key(former.key.public_key()))
    former.set(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.key.public_key()))
    former.set(x509.SubjectKeyIdentifier.from_public_key(former.key.public_key()))
    findings = judge(case_of([leaf, middle, former, root]).replace(fraction_digits=[0]), PROFILES)
    assert [finding for finding in findings if finding.outcome is not Outcome.PASS] == []


def test_a_chain_that_is_broken_otherwise_is_not_refused_twice() -> None:
    parts = right_chain()
    parts[1].set(x509.NameConstraints(None, [x509.DirectoryName(parts[0].subject)]), True)
    parts[0].drop(x509.ExtendedKeyUsage)
    found = {finding.rule.name: finding for finding in judge(case_of(parts))}
    assert found["valid-path"].outcome is Outcome.NOT_JUDGED
    assert "leaf-usage-timestamping is broken" in found["valid-path"].reason


def test_without_a_key_what_needs_one_is_not_judged() -> None:
    case = case_of(right_chain()).replace(public_key=None, algorithm=None)
    found = {f.rule.name: f for f in judge(case, PROFILES) if f.outcome is Outcome.NOT_JUDGED}
    assert "--config FILE" in found.pop("sigstore-gen-time").reason
    assert set(found) == {"key-is-the-signers", "sigstore-padding"}
    assert all("--key URI" in finding.reason for finding in found.values())


def test_names_are_unique_and_say_their_profile() -> None:
    every = [*COMMON_RULES, *(rule for profile in PROFILES.values() for rule in profile.rules)]
    assert len({rule.name for rule in every}) == len(every)
    for profile in PROFILES.values():
        assert all(rule.name.startswith(f"{profile.name}-") for rule in profile.rules)
    assert set(START_RULES) <= set(COMMON_RULES)


@pytest.mark.needs(PAGE.is_file(), "the documentation is not here")
def test_page_lists_every_rule_as_the_code_has_it() -> None:
    rows = re.findall(
        r"^\| `([a-z0-9-]+)` \| (must|should) \| ([^|]*) \| ([^|]*) \|$", PAGE.read_text("utf-8"), re.MULTILINE
    )

    def row(rule: Rule) -> tuple[str, str, str, str]:
        return rule.name, rule.level, rule.clause, rule.demand

    assert rows == [row(rule) for rule in rules_of(PROFILES)]
