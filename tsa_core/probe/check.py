"""A check: one thing that a probe judges, with the rule that it is of and what its failure means."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tsa_core.paths.errors import VerificationError, printable
from tsa_core.paths.extensions import PARSING_ERRORS
from tsa_core.probe.cases import CASE_NAMES
from tsa_core.probe.evidence import DoesNotApply, Evidence, Unseen
from tsa_core.protocol.errors import EncodingError

MAX_PROBLEMS: Final = 4
"""Problems of one check that are told; a server that breaks a rule breaks it in every reply."""
_SHOWN: Final = 400


class Severity(StrEnum):
    """How much a failure counts."""

    CRITICAL = "critical"
    """Tokens cannot be relied upon."""
    ERROR = "error"
    """A rule of the standards is broken."""
    WARNING = "warning"
    """Some clients fail, or will soon."""
    NOTE = "note"
    """Good to know; the grade does not depend on it."""


class Outcome(StrEnum):
    """What became of a check."""

    HOLDS = "holds"
    FAILS = "fails"
    UNSEEN = "not seen"
    DOES_NOT_APPLY = "does not apply"


class Area(StrEnum):
    """What a check is about."""

    HTTP = "HTTP"
    REQUESTS = "Requests"
    REFUSALS = "Refusals"
    STATEMENT = "Statement"
    SIGNATURE = "Signature"
    CERTIFICATE = "Certificate"
    CLOCK = "Clock"


@dataclass(frozen=True, kw_only=True)
class Result:
    """A check with its outcome; `text` says what is wrong, or why nothing was seen, and is safe to print."""

    check: Check
    outcome: Outcome
    text: str


@dataclass(frozen=True, kw_only=True)
class Check:
    """One rule as it is judged. `rules` are numbers as in the table of docs/verify/probe.md.

    `needs` names the cases that it looks at; checks of tokens look at every token besides. `judge` yields what is
    wrong, and raises Unseen or DoesNotApply.
    """

    id: str
    area: Area
    rules: tuple[str, ...]
    severity: Severity
    title: str
    meaning: str
    needs: tuple[str, ...]
    judge: Callable[[Evidence], Iterator[str]]

    def run(self, evidence: Evidence) -> Result:
        """Return the outcome; whatever a hostile server sent, nothing is raised."""
        problems: list[str] = []
        try:
            for problem in self.judge(evidence):
                problems.append(problem)
                if len(problems) > MAX_PROBLEMS:
                    break
        except Unseen as error:
            return self._result(Outcome.UNSEEN, str(error))
        except DoesNotApply as error:
            return self._result(Outcome.DOES_NOT_APPLY, str(error))
        except (EncodingError, VerificationError, RecursionError, *PARSING_ERRORS) as error:
            problems.append(f"it cannot be read: {error}")
        if not problems:
            return self._result(Outcome.HOLDS, "")
        shown = problems[:MAX_PROBLEMS]
        return self._result(Outcome.FAILS, "; ".join(shown) + ("; and more" if len(problems) > len(shown) else ""))

    def _result(self, outcome: Outcome, text: str) -> Result:
        return Result(check=self, outcome=outcome, text=printable(text, _SHOWN))


_REGISTERED: Final[dict[str, Check]] = {}


def check(
    identifier: str, *, area: Area, rules: str, severity: Severity, title: str, meaning: str, needs: str = "plain"
) -> Callable[[Callable[[Evidence], Iterator[str]]], Callable[[Evidence], Iterator[str]]]:
    """Register a judging function as a check; `rules` and `needs` are words with spaces between them."""
    names = tuple(needs.split())
    unknown = set(names) - set(CASE_NAMES)
    if unknown or identifier in _REGISTERED:
        raise ValueError(f"the check {identifier} is there already, or needs unknown cases: {sorted(unknown)}")

    def register(judge: Callable[[Evidence], Iterator[str]]) -> Callable[[Evidence], Iterator[str]]:
        _REGISTERED[identifier] = Check(
            id=identifier,
            area=area,
            rules=tuple(rules.split()),
            severity=severity,
            title=title,
            meaning=meaning,
            needs=names,
            judge=judge,
        )
        return judge

    return register


def registered() -> tuple[Check, ...]:
    """Return the checks that have been registered, area by area."""
    order = list(Area)
    return tuple(sorted(_REGISTERED.values(), key=lambda each: order.index(each.area)))
