"""One piece of a trail, and what its check finds; nothing here knows where the lines are stored."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from tsa_core.api.trail.chain import BEGINNING, BrokenChainError, Hash, Link, check_line

_ROTATED: Final = "end"
_FINAL_TYPES: Final = frozenset({_ROTATED, "close"})
ACCEPTED: Final = "audit.accepted"
"""The event that says what an operator has accepted: lines that are missing for good."""
PRUNED: Final = "audit.pruned"
"""The event that says which lines were removed on purpose: `last` is the last of them, NUMBER:HASH, `chain` whose."""
ANCHORED: Final = "audit.anchored"
"""The event that says which anchor was stored: `number`, and `document`, the SHA-256 of what was stamped."""
_NOTED: Final = frozenset({ACCEPTED, PRUNED, ANCHORED})


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A piece of one writer's chain that is stored together: a file, or the rows of a month.

    `lines` yields its lines as `seal` made them, each with its newline. `chain` names the writer, and is empty where
    the trail has only one. `start` is the line before its first one, as the store says it. `damage` is what is wrong at
    first sight; then the lines are not looked at.
    """

    name: str
    lines: Callable[[], Iterable[bytes]]
    chain: str = ""
    start: Link = BEGINNING
    begun: str = ""
    keyed: bool = False
    damage: str = ""


class Note(NamedTuple):
    """An event about the trail itself: the number of its line among the segment's, and what it says."""

    line: int
    kind: str
    time: str
    details: Mapping[str, str]


@dataclass(kw_only=True)
class SegmentReport:
    """What a segment holds; `damage` is empty when every line is as it was written.

    `first` is where the chain was before this segment, `last` where it is after it. `ended` says whether the last line
    is one that a process or a rotation writes when it is done: without it the segment is in use, or was cut off there.
    `rotated` says that it is a rotation's, so that there was a segment that continues it.
    """

    name: str
    chain: str = ""
    first: Link = BEGINNING
    last: Link = BEGINNING
    lines: int = 0
    tokens: int = 0
    refusals: int = 0
    begun: str = ""
    ended: bool = False
    rotated: bool = False
    keyed: bool = False
    damage: str = ""
    unended: str = ""
    """What a prune was to remove from here and has not, in words."""
    notes: list[Note] = field(default_factory=list, repr=False)
    found: set[Link] = field(default_factory=set, repr=False)
    """Those of the links that were asked for which are here."""

    @property
    def accepted(self) -> list[str]:
        """What an operator has accepted, and what was removed on purpose, in words."""
        return [text for note in self.notes if (text := _words(note))] + ([self.unended] if self.unended else [])


def _words(note: Note) -> str:
    details = note.details
    if note.kind == ACCEPTED:
        return (
            f"line {note.line}: accepted by an operator at {note.time}: {details.get('fault')}; "
            f"line {details.get('expected')} was the last one known, found was {details.get('found')}; "
            f"reason: {details.get('reason')}"
        )
    if note.kind == PRUNED:
        whose = f" of {details['chain']}" if details.get("chain") else ""
        return f"line {note.line}: lines{whose} up to {details.get('last')} were removed by a prune at {note.time}"
    return ""


def check_segment(
    segment: Segment,
    begun: Hash,
    *,
    marks: Collection[Link] = frozenset(),
    seen: Callable[[Segment, Mapping[str, Any]], None] | None = None,
) -> SegmentReport:
    """Check that each line follows the one before it, and stop at the first damage.

    `begun` is what `begin_hash` returned for the trail's key. `marks` are lines to look for: a set. `seen` is called
    with the object of each line that is as it was written.
    """
    report = SegmentReport(
        name=segment.name,
        chain=segment.chain,
        first=segment.start,
        last=segment.start,
        begun=segment.begun,
        keyed=segment.keyed,
        damage=segment.damage,
    )
    if segment.damage:
        return report
    kind, last = "", segment.start
    if last in marks:
        report.found.add(last)
    try:
        for number, line in enumerate(segment.lines(), 1):
            fields, last = check_line(line, last, begun)
            kind = fields["type"]
            report.lines, report.last = number, last
            if number == 1:
                # Its own word, which its hash covers, and not what the store says beside it.
                report.begun = str(fields.get("time") or fields.get("gen_time") or "")
            report.tokens += kind == "token"
            report.refusals += kind == "refusal"
            if kind == "event" and fields.get("kind") in _NOTED:
                report.notes.append(_note(number, fields))
            if last in marks:
                report.found.add(last)
            if seen is not None:
                seen(segment, fields)
    except BrokenChainError as error:
        report.damage = f"line {report.lines + 1}: {error}"
    report.ended, report.rotated = kind in _FINAL_TYPES, kind == _ROTATED
    if not report.lines and not report.damage:
        report.damage = "it is empty"
    return report


def _note(number: int, fields: Mapping[str, Any]) -> Note:
    details = fields.get("details")
    texts = {name: str(text)[:500] for name, text in details.items()} if isinstance(details, dict) else {}
    return Note(number, fields["kind"], str(fields.get("time")), texts)
