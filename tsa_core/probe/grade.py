"""The grade of an authority: which checks failed, how badly, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tsa_core.probe.check import Result, Severity

GRADES: Final = ("A+", "A", "B", "C", "D", "E", "F")
"""From the best to the worst."""
MANY_ERRORS, SOME_ERRORS, SOME_WARNINGS = 6, 3, 4


@dataclass(frozen=True, kw_only=True)
class Grade:
    """A letter, and why it is not a better one."""

    letter: str
    reasons: tuple[str, ...]

    def is_below(self, letter: str) -> bool:
        """Say whether this grade is worse than another."""
        return GRADES.index(self.letter) > GRADES.index(letter)


def grade(results: Sequence[Result], *, complete: bool) -> Grade:
    """Return the grade of these results.

    F: a critical check fails. E, D, C: six, three, one or more errors. B: four or more warnings. A: one or more
    warnings, or requests that were left out (`complete` is false). A+: none of these. Notes do not count.
    """
    failed = {
        severity: [each for each in results if each.fails and each.check.severity is severity] for severity in Severity
    }
    critical, errors, warnings = (failed[s] for s in (Severity.CRITICAL, Severity.ERROR, Severity.WARNING))
    if critical:
        return Grade(letter="F", reasons=_reasons(critical))
    if errors:
        letter = "E" if len(errors) >= MANY_ERRORS else "D" if len(errors) >= SOME_ERRORS else "C"
        return Grade(letter=letter, reasons=_reasons(errors))
    if warnings:
        return Grade(letter="B" if len(warnings) >= SOME_WARNINGS else "A", reasons=_reasons(warnings))
    if not complete:
        return Grade(letter="A", reasons=("not every request was sent, so that not every check was made",))
    return Grade(letter="A+", reasons=())


def _reasons(results: Iterable[Result]) -> tuple[str, ...]:
    return tuple(f"{each.check.title}: {each.text}" for each in results)
