"""The profiles: which rules go together, and what they are judged by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from tsa_core.conformance.chains.clients import ACROBAT_RULES, SIGSTORE_RULES
from tsa_core.conformance.chains.code_signing import CODE_SIGNING_RULES
from tsa_core.conformance.chains.etsi import ETSI_RULES
from tsa_core.conformance.chains.general import GENERAL_RULES
from tsa_core.conformance.chains.path import START_RULES
from tsa_core.conformance.chains.rule import ChainCase, Finding, Rule
from tsa_core.values import Value


class ChainProfile(Value):
    """A set of rules beyond those that every chain is judged by."""

    name: str
    title: str
    rules: Sequence[Rule]


PROFILES: Final[dict[str, ChainProfile]] = {
    profile.name: profile
    for profile in (
        ChainProfile(name="etsi", title="ETSI EN 319 421 and EN 319 422", rules=ETSI_RULES),
        ChainProfile(name="csbr", title="CA/Browser Forum code signing, 6.8", rules=CODE_SIGNING_RULES),
        ChainProfile(name="sigstore", title="Sigstore's clients", rules=SIGSTORE_RULES),
        ChainProfile(name="acrobat", title="Adobe Acrobat", rules=ACROBAT_RULES),
    )
}

COMMON_RULES: Final[Sequence[Rule]] = (*START_RULES, *GENERAL_RULES)
"""What every chain is judged by, whatever the profile."""


def rules_of(profiles: Iterable[str] = ()) -> list[Rule]:
    """Return the common rules and those of the profiles; KeyError for a name that PROFILES does not have."""
    return [*COMMON_RULES, *(rule for name in dict.fromkeys(profiles) for rule in PROFILES[name].rules)]


def judge(case: ChainCase, profiles: Iterable[str] = ()) -> list[Finding]:
    """Return what each rule finds, in the order of the rules."""
    return [rule.judge(case) for rule in rules_of(profiles)]
