"""What a probe found: a value for programs, and a JSON document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tsa_core.probe.check import Outcome, Result, Severity
from tsa_core.probe.checks import CHECKS
from tsa_core.probe.clients import ClientVerdict
from tsa_core.probe.evidence import Evidence, offset_of
from tsa_core.probe.grade import Grade
from tsa_core.probe.standards import StandardVerdict

FORMAT = 1
"""The version of the JSON document; it changes when a field changes its meaning or goes."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that a probe found out about one authority. Texts are safe to print.

    `requests` is how many were sent, `stopped` why others were not, empty when all were.
    """

    url: str
    started: datetime
    finished: datetime
    requests: int
    stopped: str
    grade: Grade
    results: tuple[Result, ...]
    facts: Mapping[str, str]
    clients: tuple[ClientVerdict, ...]
    standards: tuple[StandardVerdict, ...]
    unseen_rules: Mapping[str, str]
    """Rules that nobody sees from outside, and why."""
    evidence: Evidence = field(repr=False)

    def failed(self, *severities: Severity) -> tuple[Result, ...]:
        """Return what failed, of these severities or of any."""
        return tuple(
            each for each in self.results if each.fails and (not severities or each.check.severity in severities)
        )

    @property
    def left_out(self) -> int:
        """How many checks of the table were not made, because the caller named others."""
        return len(CHECKS) - len(self.results)

    def unseen(self) -> dict[str, list[str]]:
        """Return the names of the checks that could not be made, by the reason."""
        found: dict[str, list[str]] = {}
        for each in self.results:
            if each.outcome is Outcome.UNSEEN:
                found.setdefault(each.text, []).append(each.check.id)
        return found

    def count(self, outcome: Outcome) -> int:
        """Return how many checks have an outcome."""
        return sum(1 for each in self.results if each.outcome is outcome)

    def document(self) -> dict[str, Any]:
        """Return the report for JSON; docs/verify/probe.md has its fields."""
        return {
            "Format": FORMAT,
            "URL": self.url,
            "Started": _time(self.started),
            "Seconds": round((self.finished - self.started).total_seconds(), 3),
            "Requests": self.requests,
            "Stopped": self.stopped or None,
            "Grade": self.grade.letter,
            "Reasons": list(self.grade.reasons),
            "Counts": {outcome.value: self.count(outcome) for outcome in Outcome},
            "ClockBound": self.evidence.clock_bound,
            "Facts": dict(self.facts),
            "Checks": [_check(each) for each in self.results],
            "Clients": [
                {"Client": each.client, "Reception": each.reception.value, "Reasons": list(each.reasons)}
                for each in self.clients
            ],
            "Conformance": [_standard(each) for each in self.standards],
            "Exchanges": self._exchanges(),
            "UnseenRules": dict(self.unseen_rules),
        }

    def _exchanges(self) -> list[dict[str, Any]]:
        offsets = {stamp.exchange.case.name: offset_of(stamp) for stamp in self.evidence.stamps}
        found = []
        for each in self.evidence.exchanges.values():
            bracket = offsets.get(each.case.name)
            found.append(
                {
                    "Request": each.case.name,
                    "Title": each.case.title,
                    "Sent": _time(each.sent),
                    "Milliseconds": round(each.seconds * 1000, 1),
                    "HTTPStatus": each.answer.status if each.answer is not None else None,
                    "Granted": each.is_granted,
                    "Octets": len(each.answer.body) if each.answer is not None else None,
                    "OffsetSeconds": [round(side.total_seconds(), 6) for side in bracket] if bracket else None,
                }
            )
        return found


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _standard(verdict: StandardVerdict) -> dict[str, Any]:
    demands = [
        {"Rule": e.name, "Clause": e.clause, "Outcome": e.outcome, "Demand": e.demand, "Reason": e.reason or None}
        for e in verdict.demands
    ]
    return {"Standard": verdict.name, "Title": verdict.title, "Demands": demands}


def _check(result: Result) -> dict[str, Any]:
    return {
        "Check": result.check.id,
        "Area": result.check.area.value,
        "Rules": list(result.check.rules),
        "Severity": result.check.severity.value,
        "Title": result.check.title,
        "Outcome": result.outcome.value,
        "Text": result.text or None,
        "Meaning": result.check.meaning,
    }
