"""Makes the auditor's report of a tally and of what the check of the trail has found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from tsa_core import __version__
from tsa_core.api.trail import ACCEPTED, ANCHORED, PRUNED, SegmentReport, TrailReport
from tsa_core.api.trail.events import CEREMONY, CLOCK_STEP, DESTROYED, RELOADED, STARTED
from tsa_core.documents.blocks import Bars, Block, Document, Heading, Items, Paragraph, Table
from tsa_core.documents.report.certificates import certificate_blocks
from tsa_core.documents.report.outages import closing_blocks, outage_blocks
from tsa_core.documents.report.tally import Tally
from tsa_core.documents.report.texts import MOST_ROWS, cut, day, second
from tsa_core.service.anchor_check import AnchorsReport

_STEP_CLUSTER: Final = timedelta(seconds=2)
"""Steps that several processes have noticed within this time are one."""
_BARS: Final = 6
"""Profiles or failures with a colour of their own; the others share one."""
_MOST_FAULTS: Final = 50
_EVERY_LINE: Final = "Every line of the trail fits the one before it."


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Everything that the report is made of. `end` of the tally is the first moment too late."""

    tally: Tally
    trail: TrailReport
    anchors: AnchorsReport
    sink: str
    keyed: bool
    made: datetime

    @property
    def intact(self) -> bool:
        """Whether trail and anchors are as they were written, and there is a trail."""
        return bool(self.trail.segments) and self.trail.intact and self.anchors.intact

    @property
    def anchored(self) -> bool:
        """Whether there is an anchor whose timestamps were verified."""
        return bool(self.anchors.anchors) and self.anchors.verified and self.anchors.intact


def report_of(findings: Findings) -> Document:
    """Return the report."""
    tally = findings.tally
    last = tally.end - timedelta(microseconds=1)
    whose = f" of the profile {tally.profile}" if tally.profile else ""
    blocks: list[Block] = [
        Paragraph(
            text=f"From {day(tally.begin)} to {day(last)} (UTC), from the audit trail of the sink {findings.sink}. "
            f"Made on {second(findings.made)} by tsa-core {__version__}."
        ),
        *_summary(findings),
        *_verification(findings),
        *_ceremonies(tally),
        *certificate_blocks(tally),
        *closing_blocks(tally),
        *_steps(tally),
        *outage_blocks(tally),
        *_starts(tally),
        *_tokens(tally),
        *_refusals(tally),
        *_limits(findings),
    ]
    return Document(title=f"Audit report of a timestamp authority{whose}", blocks=blocks)


def _summary(findings: Findings) -> Iterator[Block]:
    tally = findings.tally
    listed = {kind: sum(event.kind == kind for event in tally.events) for kind in (CEREMONY, DESTROYED)}
    yield Heading(level=2, text="Summary")
    if findings.intact and (findings.keyed or findings.anchored):
        yield Paragraph(text=f"{_EVERY_LINE}{_by_what(findings)}", tone="good")
    elif findings.intact:
        yield Paragraph(
            text=f"{_EVERY_LINE} Nothing shows whether all of them were computed anew: the chain has no key, and there "
            "is no anchor whose timestamps were verified."
        )
    else:
        yield Paragraph(
            text="The trail is NOT what was written, or its anchors do not agree with it. What is counted below ends "
            "in each chain before the damage.",
            tone="warning",
        )
    rows = [
        ("Time-stamps", f"{sum(tally.tokens.values()):,}"),
        ("Requests refused, as far as they are recorded", f"{sum(tally.refusals.values()):,}"),
        ("Certificates in use", str(len(tally.certificates))),
        ("Ceremonies of new keys", str(listed[CEREMONY])),
        ("Keys destroyed", str(listed[DESTROYED])),
        ("Lines of the whole trail", f"{tally.lines:,}"),
        ("First line of the trail", cut(tally.first) or "none"),
        ("Last line of the trail", cut(tally.last) or "none"),
    ]
    yield Table(columns=("Fact", "Value"), rows=rows)
    kinds = sorted(tally.kinds.items(), key=lambda item: (-item[1], item[0]))
    yield Table(columns=("Lines of this time", "Number"), rows=[(kind, f"{count:,}") for (kind,), count in kinds])


def _by_what(findings: Findings) -> str:
    """Return who cannot have changed what."""
    key = " Nobody without the key of the chain has changed or removed one in between." if findings.keyed else ""
    anchors = " Those before the last anchor are as other authorities stamped them." if findings.anchored else ""
    return key + anchors


def _verification(findings: Findings) -> Iterator[Block]:
    report, anchors = findings.trail, findings.anchors
    yield Heading(level=2, text="Verification of the trail")
    damaged = [each for each in report.segments if each.damage]
    noted = [text for each in report.segments for text in each.accepted]
    chained = "HMAC-SHA256 with a key" if findings.keyed else "SHA-256, without a key"
    lines = sum(each.lines for each in report.segments)
    texts = [
        f"{len(report.segments):,} pieces with {lines:,} lines were read. The lines are chained by {chained}.",
        *(f"DAMAGED: {_piece(each)}: {each.damage}" for each in damaged[:_MOST_FAULTS]),
        *(f"DAMAGED: {fault}" for fault in report.faults[:_MOST_FAULTS]),
        *noted[:_MOST_FAULTS],
    ]
    left = sum(max(0, len(each) - _MOST_FAULTS) for each in (damaged, report.faults, noted))
    yield Items(texts=[*texts, *([f"{left} more; timestamp-server audit verify prints all."] if left else [])])
    yield Heading(level=3, text="Anchors")
    yield Paragraph(text=_anchor_text(anchors), tone="plain" if anchors.intact else "warning")
    if faults := anchors.all_faults:
        yield Items(texts=faults[:_MOST_FAULTS])
    told = sum(note.kind == ANCHORED for note in report.notes)
    if anchors.anchors:
        good = [each for each in anchors.anchors if not each.faults]
        yield Table(
            columns=("Anchors", "Good", "Of lines that were pruned", "The trail tells of"),
            rows=[(str(len(anchors.anchors)), str(len(good)), str(sum(each.pruned for each in good)), str(told))],
        )


def _anchor_text(anchors: AnchorsReport) -> str:
    if not anchors.kept:
        return "This trail keeps no anchors: nothing shows whether lines were cut off at its end."
    if not anchors.anchors:
        return "There is no anchor: nothing shows whether lines were cut off at the end of the trail."
    if not anchors.verified:
        return "The timestamps of the anchors were NOT VERIFIED: nothing said which roots to trust (--anchor-roots)."
    if not anchors.intact:
        return "The anchors do not agree with the trail, or are not good:"
    last = anchors.anchors[-1]
    return (
        f"All timestamps that other authorities gave the trail are good. The last one, anchor {last.number}, is of "
        f"{last.who_and_when}. It says nothing of the lines after it."
    )


def _piece(report: SegmentReport) -> str:
    return f"{report.name} ({report.chain})" if report.chain else report.name


def _ceremonies(tally: Tally) -> Iterator[Block]:
    yield Heading(level=2, text="Key ceremonies")
    rows = [
        (
            second(event.time),
            {CEREMONY: "key made or taken", DESTROYED: "key destroyed"}[event.kind],
            event.details.get("attendees", ""),
            event.details.get("key_sha256", ""),
            event.details.get("protocol_sha256", ""),
        )
        for event in tally.events
        if event.kind in {CEREMONY, DESTROYED}
    ]
    yield from _listed(
        Table(
            columns=("Time", "What", "Attendees", "SHA-256 of the key", "SHA-256 of the protocol"),
            rows=rows,
            code=frozenset({3, 4}),
            nothing="The trail tells of none. Ceremonies are in the trail when timestamp-server keys ceremony and "
            "timestamp-server keys destroyed were told the configuration.",
        )
    )


def _steps(tally: Tally) -> Iterator[Block]:
    yield Heading(level=3, text="The clock was set")
    rows: list[tuple[str, str, str]] = []
    last: datetime | None = None
    for event in sorted((each for each in tally.events if each.kind == CLOCK_STEP), key=lambda each: each.time):
        if last is None or event.time - last > _STEP_CLUSTER:
            rows.append((second(event.time), event.details.get("seconds", ""), event.process))
        last = event.time
    yield from _listed(
        Table(
            columns=("Time after it", "By seconds", "Process that saw it"),
            rows=rows,
            nothing="Never by a second or more, as far as a process ran. (A machine that slept would look the same.)",
        )
    )


def _starts(tally: Tally) -> Iterator[Block]:
    yield Heading(level=2, text="Starts and reloads")
    rows = [
        (
            second(event.time),
            "start" if event.kind == STARTED else "reload",
            event.details.get("version", ""),
            event.details.get("host", ""),
            event.process,
        )
        for event in sorted(tally.events, key=lambda each: each.time)
        if event.kind in {STARTED, RELOADED}
    ]
    left = tally.events_left_out[STARTED] + tally.events_left_out[RELOADED]
    counts = (
        f"Processes began to write {tally.kinds['open',]:,} times and ended in order {tally.kinds['close',]:,} times"
    )
    yield Paragraph(text=f"{counts}. Each process of the server counts, and so do commands that write into the trail.")
    nothing = "The trail tells of none: no process began in this time, or an older tsa-core wrote it, which did not."
    table = Table(columns=("Time", "What", "tsa-core", "Host", "Process"), rows=rows, nothing=nothing)
    yield from _listed(table, left=left)


def _tokens(tally: Tally) -> Iterator[Block]:
    yield Heading(level=2, text="Time-stamps by month and profile")
    if not tally.tokens:
        yield Paragraph(text="None.")
        return
    months = _months(tally.begin, tally.end)
    by_profile: dict[str, int] = {}
    for (_, profile), count in tally.tokens.items():
        by_profile[profile] = by_profile.get(profile, 0) + count
    profiles = sorted(by_profile, key=lambda name: (-by_profile[name], name))
    yield from _bars("Time-stamps", months, profiles, [[tally.tokens[m, p] for m in months] for p in profiles])
    rows = [
        (month, profile, f"{tally.tokens[month, profile]:,}")
        for month in months
        for profile in profiles
        if tally.tokens[month, profile]
    ]
    yield from _listed(Table(columns=("Month", "Profile", "Time-stamps"), rows=rows))


def _refusals(tally: Tally) -> Iterator[Block]:
    yield Heading(level=2, text="Refusals by reason")
    if not tally.refusals:
        yield Paragraph(
            text="The trail has none in this period. Sinks record them only when they are told to (refusals = true)."
        )
        return
    months = _months(tally.begin, tally.end)
    monthly: dict[tuple[str, str], int] = {}
    reasons: dict[tuple[str, str], int] = {}
    for (month, failure, reason), count in tally.refusals.items():
        monthly[month, failure] = monthly.get((month, failure), 0) + count
        reasons[failure, reason] = reasons.get((failure, reason), 0) + count
    failures = sorted({failure for _, failure in monthly})
    yield from _bars("Refusals", months, failures, [[monthly.get((m, f), 0) for m in months] for f in failures])
    rows = [
        (failure, reason, f"{count:,}")
        for (failure, reason), count in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    ]
    yield from _listed(
        Table(columns=("Failure (RFC 3161 2.4.2)", "Reason that the requester got", "Requests"), rows=rows)
    )


def _bars(title: str, months: Sequence[str], names: Sequence[str], counts: Sequence[list[int]]) -> Iterator[Block]:
    """Yield a chart in which the rarest names beyond some share a colour."""
    shown, rest = list(names[: _BARS - 1]), counts[_BARS - 1 :]
    if len(names) == _BARS:
        shown, rest = list(names), []
    series = [*counts[: len(shown)], *([[sum(column) for column in zip(*rest, strict=True)]] if rest else [])]
    yield Bars(title=f"{title} by month", labels=months, series=[*shown, *(["others"] if rest else [])], counts=series)


def _limits(findings: Findings) -> Iterator[Block]:
    tally = findings.tally
    yield Heading(level=2, text="What this report does not show")
    texts = [
        "Requests that a guard refused (401, 403, 429) and requests that broke HTTP: they never reach the trail.",
        "Whether the clock was right while the gate was open: the gate believes its monitors.",
        "Ceremonies whose commands were not told the configuration, and keys that were made otherwise.",
        "When a process was killed: only ends in order leave a line. Times without any line are listed above.",
        "The time-stamps themselves, unless the sink keeps them (tokens = true).",
    ]
    if not findings.anchors.anchors:
        texts.append("Lines that were cut off at the end of the trail, because there is no anchor.")
    else:
        texts.append("Lines that were cut off behind the last anchor.")
    if not findings.keyed and not findings.anchored:
        texts.append("A trail that was computed anew as a whole: its lines have no key, and no anchor was verified.")
    if any(note.kind == PRUNED for note in findings.trail.notes):
        texts.append("What the lines said that were pruned.")
    if any(note.kind == ACCEPTED for note in findings.trail.notes):
        texts.append("What the lines said whose loss an operator has accepted.")
    if tally.first and tally.first[:10] > day(tally.begin):
        texts.append(f"Anything before {cut(tally.first)}, when the trail begins.")
    if tally.end > findings.made:
        texts.append(f"Anything after {second(findings.made)}, when this report was made: its period was not over.")
    if tally.undated:
        texts.append(f"{tally.undated} lines that have no time.")
    if left := sum(tally.events_left_out.values()) + tally.outages_left_out:
        texts.append(f"{left} events beyond those that are listed; timestamp-server audit show --events prints all.")
    yield Items(texts=texts)


def _listed(table: Table, *, left: int = 0) -> Iterator[Block]:
    """Yield a table, without the rows beyond MOST_ROWS, and say how many these are."""
    left += max(0, len(table.rows) - MOST_ROWS)
    rows = table.rows[:MOST_ROWS]
    yield Table(columns=table.columns, rows=rows, code=table.code, nothing=table.nothing)
    if left:
        yield Paragraph(text=f"{left:,} more are not listed; timestamp-server audit show prints all.")


def _months(begin: datetime, end: datetime) -> list[str]:
    found, moment = [], begin.replace(day=1)
    while moment < end:
        found.append(f"{moment:%Y-%m}")
        moment = (moment + timedelta(days=32)).replace(day=1)
    return found
