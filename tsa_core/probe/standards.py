"""Which standard an authority would meet, as far as shows from outside: the rules of `tsa_core.conformance`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tsa_core.conformance.chains import ChainCase, Outcome
from tsa_core.conformance.profiles import CONFORMANCE
from tsa_core.conformance.rule import Case, TokenFacts
from tsa_core.paths.errors import printable
from tsa_core.paths.extensions import PARSING_ERRORS
from tsa_core.probe.evidence import Evidence, fraction_digits
from tsa_core.protocol.signatures import UnsupportedKey, signature_algorithm

STANDARDS: Final = tuple(CONFORMANCE)
"""The names of the standards that a probe can look at."""


@dataclass(frozen=True, kw_only=True)
class Demand:
    """One demand of a standard; `outcome` is pass, fail, warn or not judged. Texts are safe to print."""

    name: str
    clause: str
    outcome: str
    demand: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class StandardVerdict:
    """What became of every demand of one standard."""

    name: str
    title: str
    demands: tuple[Demand, ...]

    def having(self, *outcomes: str) -> tuple[Demand, ...]:
        """Return the demands with one of these outcomes."""
        return tuple(each for each in self.demands if each.outcome in outcomes)


def known_standards(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names, each once; raises ValueError for an unknown one."""
    wanted = tuple(dict.fromkeys(names))
    if unknown := set(wanted) - set(STANDARDS):
        raise ValueError(f"there is no standard {min(unknown)!r}; there are {', '.join(STANDARDS)}")
    return wanted


def judge(names: Iterable[str], evidence: Evidence) -> tuple[StandardVerdict, ...]:
    """Return the verdicts of these standards on what was seen."""
    case = _case(evidence)
    return tuple(_verdict(name, case) for name in names)


def _verdict(name: str, case: Case) -> StandardVerdict:
    profile = CONFORMANCE[name]
    demands = []
    for rule in profile.rules:
        try:
            finding = rule.judge(case)
            outcome, reason = finding.outcome.value, finding.reason
        except PARSING_ERRORS as error:  # a certificate that is odd beyond what these rules foresee
            outcome, reason = Outcome.NOT_JUDGED.value, f"a certificate cannot be read: {error}"
        demands.append(
            Demand(
                name=rule.name,
                clause=rule.clause,
                outcome=outcome,
                demand=rule.demand,
                reason=printable(reason),
            )
        )
    return StandardVerdict(name=name, title=profile.title, demands=tuple(demands))


def _case(evidence: Evidence) -> Case:
    """Return what the rules may judge: the chain only where it leads to a root that the caller trusts."""
    chain = None
    if evidence.path:
        certificates = [each.certificate for each in evidence.path]
        try:
            algorithm = signature_algorithm(certificates[0].public_key())
        except (UnsupportedKey, *PARSING_ERRORS):
            algorithm = None
        chain = ChainCase(certificates=certificates, at=evidence.started, algorithm=algorithm)
    return Case(at=evidence.started, chain_case=chain, token_facts=_tokens(evidence))


def _tokens(evidence: Evidence) -> TokenFacts | None:
    """Return what all tokens together say, None when there is none."""
    stamps = evidence.stamps
    if not stamps:
        return None
    each = [TokenFacts.of(stamp.info) for stamp in stamps]
    accuracies = [facts.accuracy for facts in each]
    stated = [accuracy for accuracy in accuracies if accuracy is not None]
    asked = [stamp for stamp in stamps if stamp.exchange.case.name == "plain"]
    return TokenFacts(
        policies=_all(facts.policies for facts in each),
        hashes=_all(facts.hashes for facts in each),
        accuracy=max(stated) if len(stated) == len(accuracies) else None,
        ordering=any(facts.ordering for facts in each),
        fraction_digits=max(fraction_digits(stamp.token.content) for stamp in stamps),
        signer_certificate=all(stamp.reply.certificate is not None for stamp in asked),
        critical_extensions=_all(facts.critical_extensions for facts in each),
        qc_statements=each[0].qc_statements,
    )


def _all(groups: Iterable[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(text for group in groups for text in group))
