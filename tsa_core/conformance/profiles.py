"""The conformance profiles: which rules go together, judged at once, and what they demand of each token."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final

from tsa_core.conformance.chains import PROFILES as CHAIN_PROFILES
from tsa_core.conformance.chains import Outcome
from tsa_core.conformance.code_signing import CODE_SIGNING_RULES
from tsa_core.conformance.etsi import ETSI_RULES
from tsa_core.conformance.rule import Case, ConformanceFinding, ConformanceRule, End, When
from tsa_core.conformance.sigstore import SIGSTORE_RULES
from tsa_core.values import Value


class ConformanceProfile(Value):
    """The rules of one standard or group of clients."""

    name: str
    rules: Sequence[ConformanceRule]

    @property
    def title(self) -> str:
        """What the profile is about."""
        return CHAIN_PROFILES[self.name].title


CONFORMANCE: Final[Mapping[str, ConformanceProfile]] = {
    "etsi": ConformanceProfile(name="etsi", rules=ETSI_RULES),
    "csbr": ConformanceProfile(name="csbr", rules=CODE_SIGNING_RULES),
    "sigstore": ConformanceProfile(name="sigstore", rules=SIGSTORE_RULES),
}


class Conformance:
    """What a running profile conforms to; made once, at the start. Thread-safe.

    `findings` is what each rule found then. Nothing of it is on a request's way but `hash_ends`, which is empty unless
    a standard ends a hash that the profile accepts.
    """

    def __init__(self, names: Iterable[str], case: Case) -> None:
        self._case = case
        rules = [rule for name in dict.fromkeys(names) for rule in CONFORMANCE[name].rules]
        self.findings: Sequence[ConformanceFinding] = [rule.judge(case) for rule in rules]
        self._of_tokens = [rule for rule in rules if When.TOKEN in rule.when]
        self.ends: Sequence[End] = [end for rule in rules for end in rule.ends(case)] if case.chain_case else ()
        """When the profile stops to conform, by time alone."""
        self.widest_accuracy: timedelta | None = min(
            (rule.widest_accuracy for rule in rules if rule.widest_accuracy is not None), default=None
        )
        """The widest accuracy that a token may state, None when nothing limits it."""
        self.hash_ends: Mapping[str, End] = {
            name: end
            for name in (case.token_facts.hashes if case.token_facts else ())
            for rule in rules
            if (end := rule.hash_end(name)) is not None
        }
        """When an accepted imprint hash ends, by its name."""

    @property
    def broken(self) -> Sequence[ConformanceFinding]:
        """The demands that are not fulfilled."""
        return [finding for finding in self.findings if finding.outcome is Outcome.FAIL]

    def complaint_about(self, **token: object) -> str:
        """Return why a token may not be made, one line with the clause; empty when it may.

        `token` are facts of TokenFacts in which the token differs from what the profile makes by itself.
        """
        case = self._case.with_tokens(**token)
        for rule in self._of_tokens:
            finding = rule.judge(case)
            if finding.outcome is Outcome.FAIL:
                return f"{finding.reason} ({rule.name}: {rule.clause})"
        return ""
