"""A check: one thing that a probe judges, with the rule that it is of and what its failure means."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Final, NamedTuple

from tsa_core.paths.errors import VerificationError, printable
from tsa_core.paths.extensions import PARSING_ERRORS
from tsa_core.probe.cases import CASE_NAMES
from tsa_core.probe.evidence import DoesNotApply, Evidence, Unseen
from tsa_core.protocol.errors import EncodingError

MAX_PROBLEMS, MAX_PLACES = 4, 3
"""Problems of one check that are told, and places of one problem: who breaks a rule breaks it in every reply."""
_MOST: Final = 200
_SHOWN: Final = 400


class At(NamedTuple):
    """A problem with the request in whose reply it was seen."""

    where: str
    text: str


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

    @property
    def fails(self) -> bool:
        """Whether the check was made and found something wrong."""
        return self.outcome is Outcome.FAILS


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
    judge: Callable[[Evidence], Iterator[str | At]]

    def run(self, evidence: Evidence) -> Result:
        """Return the outcome; whatever a hostile server sent, nothing is raised."""
        problems: dict[str, list[str]] = {}
        outcome, reason = Outcome.HOLDS, ""
        try:
            for problem in islice(self.judge(evidence), _MOST):
                where, text = problem if isinstance(problem, At) else ("", problem)
                problems.setdefault(text, []).append(where)
        except Unseen as error:
            outcome, reason = Outcome.UNSEEN, str(error)
        except DoesNotApply as error:
            outcome, reason = Outcome.DOES_NOT_APPLY, str(error)
        except (EncodingError, VerificationError, RecursionError, *PARSING_ERRORS) as error:
            problems.setdefault(f"it cannot be read: {error}", []).append("")
        if not problems:  # what was found before something could not be seen counts
            return self._result(outcome, reason)
        shown = [_told(text, places) for text, places in problems.items()][:MAX_PROBLEMS]
        return self._result(Outcome.FAILS, "; ".join(shown) + ("; and more" if len(problems) > len(shown) else ""))

    def _result(self, outcome: Outcome, text: str) -> Result:
        return Result(check=self, outcome=outcome, text=printable(text, _SHOWN))


def _told(text: str, places: Sequence[str]) -> str:
    """Return a problem with the places where it was seen."""
    named = list(dict.fromkeys(filter(None, places)))
    if not named:
        return text
    more = f" and {len(named) - MAX_PLACES} more" if len(named) > MAX_PLACES else ""
    return f"{text} ({', '.join(named[:MAX_PLACES])}{more})"


Judge = Callable[[Evidence], Iterator[str | At]]
_REGISTERED: Final[dict[str, Check]] = {}


def check(
    identifier: str, *, area: Area, rules: str, severity: Severity, title: str, meaning: str, needs: str = "plain"
) -> Callable[[Judge], Judge]:
    """Register a judging function as a check; `rules` and `needs` are words with spaces between them."""
    names = tuple(needs.split())
    unknown = set(names) - set(CASE_NAMES)
    if unknown or identifier in _REGISTERED:
        raise ValueError(f"the check {identifier} is there already, or needs unknown cases: {sorted(unknown)}")

    def register(judge: Judge) -> Judge:
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
