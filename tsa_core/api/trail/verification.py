"""Checks a whole trail: each segment by itself, that each continues the one before it, and what must be in them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tsa_core.api.trail.chain import BEGINNING, Hash, Link, begin_hash, parse_link
from tsa_core.api.trail.segment import PRUNED, Note, Segment, SegmentReport, check_segment
from tsa_core.api.trail.trail import Trail


@dataclass(kw_only=True)
class TrailReport:
    """What the check of a trail found. `faults` are those that are no segment's own, in words."""

    segments: list[SegmentReport] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    missing: list[Link] = field(default_factory=list)
    """Links that were asked for and are in no segment."""

    @property
    def intact(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults and not self.missing and not any(report.damage for report in self.segments)

    @property
    def notes(self) -> Iterator[Note]:
        """The trail's events about itself, those of all chains."""
        return (note for report in self.segments for note in report.notes)

    @property
    def found(self) -> set[Link]:
        """The links that were asked for and are there."""
        return {link for report in self.segments for link in report.found}


def check_trail(
    trail: Trail,
    *,
    marks: Collection[Link] = (),
    starts: Collection[Link] = (),
    tell: Callable[[SegmentReport], None] = lambda _report: None,
    seen: Callable[[Segment, Mapping[str, Any]], None] | None = None,
) -> TrailReport:
    """Check all lines of a trail; `marks` must be among them. `tell` is called with each segment's report at once.

    `seen` is called with the segment and the object of each line that is as it was written, in the order of the chains.

    Each chain must begin with line 1, or behind one of `starts`, or where an event of the trail says that the lines
    before were pruned. A link of `starts` that begins no chain is a fault.
    """
    report = TrailReport()
    begun, wanted = begin_hash(trail.key), frozenset(marks)
    before: dict[str, SegmentReport] = {}
    firsts: list[SegmentReport] = []
    segments = trail.segments()
    for segment in segments:
        checked = check_segment(segment, begun, marks=wanted, seen=seen)
        report.segments.append(checked)
        previous = before.get(segment.chain)
        before[segment.chain] = checked
        if previous is None:
            firsts.append(checked)
        elif not previous.damage and not checked.damage and checked.first != previous.last:
            checked.damage = (
                f"it does not continue {previous.name}, which ends with number {previous.last.seq}: "
                f"it continues number {checked.first.seq}; something between them is missing, or was cut off"
            )
        tell(checked)
    pruned = _pruned(report)
    for first in firsts:
        if first.damage:
            continue
        gone = pruned.get(first.chain, {})
        chain = [each for each in segments if each.chain == first.chain]
        left = _passed(chain, begun, {link for link in gone if link.seq > first.first.seq})
        if left:
            last = max(left)
            first.unended = (
                f"lines up to {last} are still here, which a prune was to remove: it was interrupted, or they were put "
                f"back; run timestamp-server audit prune --before {gone[last]} again"
            )
        elif first.first not in gone:
            first.damage = _wrong_start(first, frozenset(starts))
    if not any(first.damage for first in firsts):
        begun_at = {first.first for first in firsts}
        report.faults.extend(
            f"nothing continues {start}: lines behind it are missing, or were pruned"
            for start in sorted(set(starts) - begun_at)
        )
    found = report.found
    report.missing = [link for link in marks if link not in found]
    report.faults.extend(trail.faults())
    return report


def _pruned(report: TrailReport) -> dict[str, dict[Link, str]]:
    """Return the last lines that were to be removed on purpose, and what was older than when, by chain."""
    found: dict[str, dict[Link, str]] = {}
    for note in report.notes:
        if note.kind == PRUNED and (link := parse_link(note.details.get("last", ""))):
            found.setdefault(note.details.get("chain", ""), {})[link] = note.details.get("before", "")
    return found


def _passed(segments: Sequence[Segment], begun: Hash, links: Collection[Link]) -> set[Link]:
    """Return which of some links are in a chain; reads it again, which only an interrupted prune makes necessary."""
    found: set[Link] = set()
    for segment in segments if links else ():
        found |= check_segment(segment, begun, marks=frozenset(links)).found
    return found


def _wrong_start(first: SegmentReport, starts: frozenset[Link]) -> str:
    """Return what is wrong with where a chain begins, of which nothing was pruned."""
    start = first.first
    if start in (starts or {BEGINNING}):
        return ""
    if not starts:
        return (
            f"it does not begin the trail, but continues line {start.seq}: older lines are missing; "
            f"if they are kept elsewhere and end with that line, give --from {start}"
        )
    return f"it continues {start}, and not {' or '.join(map(str, sorted(starts)))}"
