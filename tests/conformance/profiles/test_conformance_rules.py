"""Each demand of each conformance profile, broken: the server does not start, and says clause, setting and remedy."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, get_args, get_type_hints

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from tests.certs.broken_chains import BREAKS, Break
from tests.certs.chains_to_break import DAY, NOW, case_of, key, right_chain
from tests.conformance.profiles.conforming import OWN_POLICY, Conforming
from tests.documentation.conformance_tables import MARKED, PAGE, table
from tests.serving import TestSink
from tsa_core.api import ConfigError
from tsa_core.config import ProfileSettings
from tsa_core.conformance.chains import Outcome
from tsa_core.conformance.profiles import CONFORMANCE
from tsa_core.conformance.rule import Case, ServiceFacts, TokenFacts, When
from tsa_core.protocol import oids

RULES = {rule.name: (name, rule) for name, profile in CONFORMANCE.items() for rule in profile.rules}
Change = Callable[[Conforming], object]
CHANGES: list[tuple[str, Change]] = []


def broken_by(rule: str, change: Change) -> None:
    CHANGES.append((rule, change))


def profile(**settings: object) -> Change:
    return lambda service: service.profile.update(settings)


def clock(**settings: object) -> Change:
    return lambda service: service.clock.update(settings)


def no_monitors(service: Conforming) -> None:
    service.monitors = []


def no_sinks(service: Conforming) -> None:
    service.sinks = []


def sinks_without_events(service: Conforming) -> None:
    service.sinks = [TestSink()]


def old_key(service: Conforming) -> None:
    service.chain[0].not_before = NOW - 500 * DAY
    service.chain[0].set(x509.PrivateKeyUsagePeriod(NOW - 500 * DAY, NOW + 9 * DAY))
    for part in service.chain[1:]:
        part.not_before = NOW - 600 * DAY


def rsa(**signer: object) -> Change:
    def change(service: Conforming) -> None:
        service.chain[0].key = key("rsa-3072")
        service.signer = signer

    return change


def same_key_unqualified(service: Conforming) -> None:
    service.profile["qualified"] = True
    service.profiles["other"] = {}


def same_key_by_another_name(service: Conforming) -> None:
    service.profile["qualified"] = True
    service.profiles["other"] = {"signer": "test:alias"}


broken_by("etsi-accuracy", profile(accuracy="none"))
broken_by("etsi-accuracy", profile(accuracy="1001ms"))
broken_by("etsi-ordering", profile(ordering=True, fraction_digits=3))
broken_by("etsi-gen-time", profile(accuracy="100ms"))
broken_by("etsi-gen-time", profile(accuracy="1ms", fraction_digits=2))
broken_by("etsi-policy", profile(policies=["1.3.6.1.4.1.57264.2"]))
broken_by("etsi-policy", profile(policies=[OWN_POLICY, "0.4.0.2042.1.2"]))
broken_by("etsi-imprint-hashes", profile(accept_sha1=True))
broken_by(
    "etsi-algorithm-end", lambda service: setattr(service.chain[1], "key", ec.generate_private_key(ec.SECP224R1()))
)
broken_by("etsi-certificate-in-token", profile(include_chain="none"))
broken_by("etsi-qualified-alone", same_key_unqualified)
broken_by("etsi-qualified-alone", same_key_by_another_name)
broken_by("etsi-key-end", profile(issue_until="certificate"))
broken_by("etsi-clock-monitor", no_monitors)
broken_by("etsi-clock-gate", clock(on_failure="warn"))
broken_by("etsi-leap-second", clock(leap="ignore"))
broken_by("etsi-audit", no_sinks)
broken_by("etsi-audit", sinks_without_events)
broken_by("etsi-https", lambda service: service.server.clear())
broken_by("etsi-https", lambda service: service.server.update(public_url="http://tsa.example.org"))

broken_by("csbr-imprint-hashes", profile(accept_sha1=True))
broken_by("csbr-certificate-in-token", profile(include_chain="none"))
broken_by("csbr-digest", rsa(digest="sha384"))
broken_by("csbr-key-age", old_key)
broken_by("csbr-clock-monitor", no_monitors)
broken_by("csbr-clock-gate", clock(on_failure="warn"))
broken_by("csbr-clock-daily", clock(max_holdover="25h"))
broken_by("csbr-monitor-daily", clock(max_verdict_age="25h"))
broken_by("csbr-leap-second", clock(leap="ignore"))
broken_by("csbr-clock-adjustments", clock(step_threshold="2s"))
broken_by("csbr-audit", no_sinks)
broken_by("csbr-audit", sinks_without_events)

broken_by("sigstore-hashes", profile(hashes=["sha256", "sha512"]))
broken_by("sigstore-weak-hashes", profile(accept_sha1=True))
broken_by("sigstore-certificate-in-token", profile(include_chain="none"))
broken_by("sigstore-intermediate-usage", profile(enforce_intermediate_eku=False))
broken_by("sigstore-ordering", profile(ordering=True, fraction_digits=3))
broken_by("sigstore-gen-time", profile(fraction_digits=3))
broken_by("sigstore-padding", rsa(rsa_pss=True))
broken_by("sigstore-digest", rsa(digest="sha384"))

OF_TOKENS = {
    "etsi-no-critical-extension": TokenFacts(policies=[], hashes=[], critical_extensions=["1.2.3"]),
    "etsi-qualified-statement": TokenFacts(policies=[], hashes=[], qc_statements=[oids.ESI4_QTST_STATEMENT_1, "1.2"]),
}
"""Demands that no configuration breaks, only what a plugin or a request adds to a token."""
CHAINS = [(name, function) for name, function in BREAKS if name in RULES]
REFUSED_BEFORE = {"csbr-names-equal": "was not issued by"}
"""Chains that a rule of every chain refuses at the start, before those of a standard are asked, and what it says."""


@pytest.mark.parametrize("conformance", [["etsi"], ["csbr"], ["sigstore"], ["etsi", "csbr", "sigstore"]], ids="+".join)
def test_a_conforming_profile_opens_and_nothing_is_to_be_said(conformance: list[str]) -> None:
    with Conforming().open(*conformance) as service:
        found = service.authority.profiles["default"].conformance
        assert found is not None
        unseen = [finding for finding in found.findings if finding.outcome is not Outcome.PASS]
    assert all(finding.outcome is Outcome.NOT_JUDGED for finding in unseen)
    assert {finding.rule.name for finding in unseen} == {
        rule.name for name in conformance for rule in CONFORMANCE[name].rules if not rule.when
    }


@pytest.mark.parametrize(("name", "change"), CHANGES, ids=[name for name, _ in CHANGES])
def test_a_broken_demand_is_refused_with_clause_setting_and_remedy(name: str, change: Change) -> None:
    conformance, rule = RULES[name]
    service = Conforming()
    change(service)
    with pytest.raises(ConfigError) as error:
        service.open(conformance)
    lines = [line for line in str(error.value).splitlines() if f"({name}: " in line]
    assert len(lines) == 1, error.value
    setting = rule.setting.format(profile="default")
    assert lines[0].startswith(f"{setting}: ")
    assert lines[0].endswith(f" ({name}: {rule.clause})")
    assert re.search(r"; (set|leave|write|take|give|add|have|issue|use) |sigstore-js refuses", lines[0])


@pytest.mark.parametrize(("name", "change"), CHANGES, ids=[name for name, _ in CHANGES])
def test_without_conformance_the_same_starts(name: str, change: Change) -> None:
    service = Conforming()
    change(service)
    if service.profile.pop("qualified", False):
        service.profiles.clear()
    with service.open() as opened:
        assert opened.authority.profiles["default"].conformance is None


@pytest.mark.parametrize(("name", "function"), CHAINS, ids=[name for name, _ in CHAINS])
def test_a_broken_chain_is_refused_or_advised_against(name: str, function: Break) -> None:
    conformance, rule = RULES[name]
    service = Conforming()
    case = function(service.chain)
    if case is not None:  # a chain of the test's own, which no signer is for; the start is among CHANGES
        assert rule.judge(Case(at=NOW, chain_case=case)).outcome is not Outcome.PASS
        assert name in {changed for changed, _ in CHANGES}
        return
    case = case_of(service.chain)
    finding = rule.judge(Case(at=NOW, chain_case=case))
    assert finding.outcome is (Outcome.FAIL if rule.level == "must" else Outcome.WARN)
    if rule.level == "should":
        return
    with pytest.raises(ConfigError) as error:
        service.open(conformance)
    line = finding.line("default")
    if said := REFUSED_BEFORE.get(name):
        assert said in str(error.value)
    else:
        assert line in str(error.value).splitlines()
    assert line.endswith(f"({name}: {rule.clause})")


@pytest.mark.parametrize("name", OF_TOKENS)
def test_a_token_that_breaks_a_demand_is_found_out(name: str) -> None:
    _, rule = RULES[name]
    assert When.TOKEN in rule.when
    assert rule.judge(Case(at=NOW, token_facts=OF_TOKENS[name])).outcome is Outcome.FAIL
    right = TokenFacts(policies=[], hashes=[], qc_statements=[oids.ESI4_QTST_STATEMENT_1])
    assert rule.judge(Case(at=NOW, token_facts=right)).outcome is Outcome.PASS


def test_every_rule_has_a_case() -> None:
    unseen = {name for name, (_, rule) in RULES.items() if not rule.when}
    cases = {name for name, _ in CHANGES} | {name for name, _ in CHAINS} | set(OF_TOKENS)
    assert cases == set(RULES) - unseen
    assert len(RULES) == sum(len(each.rules) for each in CONFORMANCE.values())


@pytest.mark.parametrize("name", [name for name, (_, rule) in RULES.items() if not rule.when])
def test_what_no_program_sees_is_said_to_be_not_checked(name: str) -> None:
    finding = RULES[name][1].judge(Case(at=NOW, service_facts=ServiceFacts()))
    assert finding.outcome is Outcome.NOT_JUDGED
    assert finding.reason.startswith("not visible from here: ")


def test_from_outside_what_only_the_operator_sees_is_not_judged() -> None:
    case = Case(
        at=NOW, chain_case=case_of(right_chain()), token_facts=TokenFacts(policies=[OWN_POLICY], hashes=["sha256"])
    )
    outcomes = {rule.name: rule.judge(case) for rule in CONFORMANCE["etsi"].rules}
    assert outcomes["etsi-clock-monitor"].outcome is Outcome.NOT_JUDGED
    assert outcomes["etsi-clock-monitor"].reason == "only the operator sees it"
    assert outcomes["etsi-accuracy"].outcome is Outcome.FAIL
    assert outcomes["etsi-organization"].outcome is Outcome.PASS


def test_settings_name_every_profile() -> None:
    (values,) = get_args(get_type_hints(ProfileSettings)["conformance"])
    assert get_args(values) == tuple(CONFORMANCE)


def test_qualified_needs_etsi() -> None:
    with pytest.raises(ConfigError, match=r'qualified = true needs conformance = \["etsi"\]'):
        Conforming(profile={"qualified": True}).open("csbr")


def test_a_profile_with_a_key_of_its_own_need_not_be_qualified() -> None:
    others = {"other": {"signer": "test:another"}}
    with Conforming(profile={"qualified": True}, profiles=others).open("etsi") as service:
        assert not service.settings.profiles["other"].qualified


def test_one_name_needs_no_list() -> None:
    with Conforming(profile={"conformance": "etsi"}).open() as service:
        assert service.settings.profiles["default"].conformance == ["etsi"]


def test_a_list_has_each_once() -> None:
    with pytest.raises(ConfigError, match="lists 'etsi' twice"):
        Conforming().open("etsi", "etsi")


def test_tls_by_ourselves_needs_no_address() -> None:
    facts = ServiceFacts(schemes=["https"])
    rule = RULES["etsi-https"][1]

    def outcome(**changed: Any) -> Outcome:
        return rule.judge(Case(at=NOW, service_facts=facts.replace(**changed))).outcome

    assert outcome() is Outcome.PASS
    assert outcome(schemes=["http", "https"]) is Outcome.FAIL
    assert outcome(schemes=["http", "https"], http_ping_only=True) is Outcome.PASS
    assert outcome(schemes=["unix"]) is Outcome.FAIL


def test_accuracy_of_one_second_is_enough() -> None:
    facts = TokenFacts(policies=[], hashes=[], accuracy=timedelta(seconds=1))
    assert RULES["etsi-accuracy"][1].judge(Case(at=NOW, token_facts=facts)).outcome is Outcome.PASS


@pytest.mark.needs(PAGE.is_file(), "the documentation is not here")
def test_the_page_has_the_tables_that_the_code_gives() -> None:
    tables = {found["name"]: found["table"] for found in MARKED.finditer(PAGE.read_text("utf-8"))}
    assert tables == {name: table(name) for name in CONFORMANCE}, (
        "run `python -m tests.documentation.conformance_tables --write`"
    )
