"""A rule of a conformance profile, the facts that it judges, and what it finds.

The facts are values of this room, so that a server judges its configuration and a client what it sees of an authority
by the same rules.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, TypeAlias

from tsa_core.conformance.chains import ChainCase, Outcome, Rule
from tsa_core.conformance.chains.rule import NotJudged
from tsa_core.protocol.tstinfo_reader import TSTInfo
from tsa_core.values import Value


class When(StrEnum):
    """When a rule is enforced. A rule without any cannot be judged by a program."""

    START = "start"
    """At the start, and at each reload."""
    TOKEN = "token"  # noqa: S105 - no password
    """When a token is made."""
    TIME = "time"
    """While the server runs: time alone may break the rule."""


class TokenFacts(Value):
    """What tokens say, as far as it differs: of one token, or of all that a profile may make.

    `hashes` are names of imprint hashes. `critical_extensions` and `qc_statements` are object identifiers.
    `signer_certificate` says whether a token has its signer's certificate when certReq asks for it.
    """

    policies: Sequence[str]
    hashes: Sequence[str]
    accuracy: timedelta | None = None
    ordering: bool = False
    fraction_digits: int = 0
    signer_certificate: bool = True
    critical_extensions: Sequence[str] = ()
    qc_statements: Sequence[str] = ()

    @classmethod
    def of(cls, info: TSTInfo, *, signer_certificate: bool = True) -> TokenFacts:
        """Return the facts of one token; digits of genTime are those that it has."""
        statements = info.qc_statements
        return cls(
            policies=[info.policy],
            hashes=[info.hash_algorithm.name if info.hash_algorithm else info.hash_oid],
            accuracy=info.accuracy.duration if info.accuracy else None,
            ordering=info.ordering,
            fraction_digits=len(f"{info.gen_time.microsecond:06d}".rstrip("0")),
            signer_certificate=signer_certificate,
            critical_extensions=[extension.oid for extension in info.extensions if extension.critical],
            qc_statements=statements.identifiers if statements else (),
        )


class ServiceFacts(Value):
    """What only the operator sees: the settings around a profile, by the names that they have in `tsa.toml`.

    `trails` are the audit sinks that keep events, which is more than that they are selected. `unqualified` are the
    profiles that use the same key and do not mark their tokens as qualified.
    """

    schemes: Sequence[str] = ("http",)
    http_ping_only: bool = False
    public_url: str | None = None
    monitors: Sequence[str] = ()
    on_failure: str = "refuse"
    leap: str = "pause"
    max_holdover: timedelta = timedelta(hours=1)
    max_verdict_age: timedelta = timedelta(minutes=5)
    step_threshold: timedelta = timedelta(milliseconds=200)
    trails: Sequence[str] = ()
    issue_until: str = "key-usage"
    enforce_intermediate_eku: bool = True
    qualified: bool = False
    unqualified: Sequence[str] = ()


class Case(Value):
    """A profile under judgement at the moment `at`, aware; what is None was not given, and is not judged."""

    at: datetime
    chain_case: ChainCase | None = None
    token_facts: TokenFacts | None = None
    service_facts: ServiceFacts | None = None

    @property
    def chain(self) -> ChainCase:
        """The chain; raises NotJudged without one."""
        if self.chain_case is None:
            raise NotJudged("no certificate chain was given")
        return self.chain_case

    @property
    def tokens(self) -> TokenFacts:
        """What tokens say; raises NotJudged when nobody knows."""
        if self.token_facts is None:
            raise NotJudged("no token was given")
        return self.token_facts

    @property
    def service(self) -> ServiceFacts:
        """The settings; raises NotJudged for whoever sees the service from outside."""
        if self.service_facts is None:
            raise NotJudged("only the operator sees it")
        return self.service_facts

    def with_tokens(self, **changed: object) -> Case:
        """Return the case with other facts about tokens."""
        return self.replace(token_facts=self.tokens.replace(**changed))


class End(Value):
    """The last moment at which a rule is fulfilled, aware, and what ends then, as a noun."""

    moment: datetime
    what: str


Check: TypeAlias = Callable[[Case], str | None]


def _never(_case: Case) -> Iterable[End]:
    return ()


def _no_end(_name: str) -> End | None:
    return None


class ConformanceRule(Value):
    """One demand of a conformance profile.

    `check` returns None when the demand is fulfilled, else one line that says what is wrong and the remedy. `setting`
    is the path to change, with `{profile}` for the profile's name. `ends` yields when a rule that is fulfilled now
    will be broken by time. `hash_end` says when an imprint hash ends, by its name. `widest_accuracy` is
    what a token may state at most, and `longest_period` the time between two measurements of a clock monitor.
    """

    name: str
    clause: str
    level: Literal["must", "should"]
    demand: str
    setting: str
    when: Sequence[When]
    check: Check
    ends: Callable[[Case], Iterable[End]] = staticmethod(_never)
    hash_end: Callable[[str], End | None] = staticmethod(_no_end)
    widest_accuracy: timedelta | None = None
    longest_period: timedelta | None = None

    def judge(self, case: Case) -> ConformanceFinding:
        """Return what the rule finds."""
        try:
            complaint = self.check(case)
        except NotJudged as reason:
            return ConformanceFinding(rule=self, outcome=Outcome.NOT_JUDGED, reason=str(reason))
        if complaint is None:
            return ConformanceFinding(rule=self, outcome=Outcome.PASS)
        outcome = Outcome.FAIL if self.level == "must" else Outcome.WARN
        return ConformanceFinding(rule=self, outcome=outcome, reason=complaint)


class ConformanceFinding(Value):
    """What one rule found; `reason` is empty when it is fulfilled."""

    rule: ConformanceRule
    outcome: Outcome
    reason: str = ""

    def line(self, profile: str) -> str:
        """Return one line for the operator: the setting, what is wrong, and the clause."""
        return f"{self.rule.setting.format(profile=profile)}: {self.reason} ({self.rule.name}: {self.rule.clause})"


def demand(
    name: str,
    *,
    clause: str,
    setting: str,
    when: Sequence[When] = (When.START,),
    level: Literal["must", "should"] = "must",
    ends: Callable[[Case], Iterable[End]] = lambda _case: (),
    hash_end: Callable[[str], End | None] = lambda _name: None,
    widest_accuracy: timedelta | None = None,
    longest_period: timedelta | None = None,
) -> Callable[[Check], ConformanceRule]:
    """Make a rule of a function; its docstring is the demand."""

    def make(check: Check) -> ConformanceRule:
        return ConformanceRule(
            name=name,
            clause=clause,
            level=level,
            demand=" ".join((inspect.getdoc(check) or "").split()),
            setting=setting,
            when=when,
            check=check,
            ends=ends,
            hash_end=hash_end,
            widest_accuracy=widest_accuracy,
            longest_period=longest_period,
        )

    return make


def unseen(name: str, *, clause: str, demand: str, where: str) -> ConformanceRule:
    """Return a rule that no program can judge; `where` says who can."""

    def check(_case: Case) -> str | None:
        raise NotJudged(f"not visible from here: {where}")

    return ConformanceRule(
        name=name, clause=clause, level="must", demand=demand, setting="profiles.{profile}", when=(), check=check
    )


def of_chains(rules: Iterable[Rule], *, demanded: Iterable[str] = ()) -> list[ConformanceRule]:
    """Return rules of certificate chains as rules of a conformance profile; those `demanded` are no advice here."""
    strict = frozenset(demanded)
    return [
        ConformanceRule(
            name=rule.name,
            clause=rule.clause,
            level="must" if rule.name in strict else rule.level,
            demand=rule.demand,
            setting="profiles.{profile}.certificate_chain",
            when=(When.START,),
            check=_of_chain(rule),
        )
        for rule in rules
    ]


def _of_chain(rule: Rule) -> Check:
    def check(case: Case) -> str | None:
        finding = rule.judge(case.chain)
        if finding.outcome is Outcome.NOT_JUDGED:
            raise NotJudged(finding.reason)
        return finding.reason or None

    return check
