"""The verdict on each of many files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tsa_core.cli.timestamp.many.item import json_name, shown_name
from tsa_core.cli.timestamp.shown import certificate_name, shown_time
from tsa_core.paths.errors import printable
from tsa_core.verify import VerificationError, VerifiedTimestamp

if TYPE_CHECKING:
    from tsa_core.evidence import VerifiedRecord


class Verdict(StrEnum):
    """`UNKNOWN`: the file or its timestamp could not be read; `UNTRIED`: the run ended before."""

    HOLDS = "holds"
    REFUSED = "does not hold"
    MISSING = "no timestamp"
    UNKNOWN = "cannot be read"
    UNTRIED = "not verified"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was found about one file; plain values, which go from one process to another.

    `rule` and `reason` say why it does not hold; `unchecked` are codes with sentences (rule V19).
    """

    name: str
    verdict: Verdict
    location: str | None = None
    rule: str = ""
    reason: str = ""
    time: datetime | None = None
    earliest: datetime | None = None
    latest: datetime | None = None
    signer: str = ""
    policy: str = ""
    anchor: str = ""
    notes: tuple[tuple[str, str], ...] = ()
    unchecked: tuple[tuple[str, str], ...] = ()

    @property
    def holds(self) -> bool:
        """Whether there is a timestamp, and it holds."""
        return self.verdict is Verdict.HOLDS

    def document(self) -> dict[str, Any]:
        """Return what JSON says of it."""
        document: dict[str, Any] = {**json_name(self.name), "Verified": self.holds, "Verdict": self.verdict.value}
        if self.location is not None:
            document["TimestampPath"] = shown_name(self.location)
        if not self.holds:
            return {**document, **({"Rule": self.rule} if self.rule else {}), "Reason": self.reason}
        return {
            **document,
            "Time": shown_time(self.time) if self.time else None,
            "Earliest": shown_time(self.earliest) if self.earliest else None,
            "Latest": shown_time(self.latest) if self.latest else None,
            "Signer": self.signer,
            "Policy": self.policy,
            "TrustAnchor": self.anchor,
            "Notes": [{"Code": code, "Text": text} for code, text in self.notes],
            "Unchecked": [{"Code": code, "Text": text} for code, text in self.unchecked],
        }


def result_of(name: str, location: str | None, found: VerifiedTimestamp) -> Result:
    """Return the result for a timestamp that holds."""
    return Result(
        name=name,
        verdict=Verdict.HOLDS,
        location=location,
        time=found.gen_time,
        earliest=found.earliest,
        latest=found.latest,
        signer=printable(certificate_name(found.signer_certificate)),
        policy=found.policy,
        anchor=printable(certificate_name(found.trust_anchor)),
        notes=tuple((note.code, printable(note.text)) for note in found.notes),
        unchecked=tuple((note.code, printable(note.text)) for note in found.unchecked),
    )


def result_of_record(name: str, location: str | None, found: VerifiedRecord) -> Result:
    """Return the result for an evidence record that holds: the first timestamp's time, the last one's anchor."""
    first, last = found.layers[0].timestamp, found.layers[-1].timestamp
    return replace(
        result_of(name, location, first),
        earliest=first.earliest,
        latest=found.existed,
        anchor=printable(certificate_name(last.trust_anchor)),
        notes=tuple((note.code, printable(note.text)) for note in found.notes),
        unchecked=tuple((note.code, printable(note.text)) for note in found.unchecked),
    )


def refusal_of(name: str, location: str | None, error: VerificationError) -> Result:
    """Return the result for a timestamp that does not hold."""
    return Result(name=name, verdict=Verdict.REFUSED, location=location, rule=error.rule, reason=printable(str(error)))


def count_words(results: Iterable[Result]) -> str:
    """Return how many of each kind there are, in words; kinds without any are left out."""
    counts = Counter(result.verdict for result in results)
    parts = [f"{verdict.value}: {counts[verdict]:,}" for verdict in Verdict if counts[verdict]]
    return f"files: {counts.total():,}; {', '.join(parts)}"
