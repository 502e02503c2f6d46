"""The parts of the report about times in which something did not work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from tsa_core.documents.blocks import Block, Heading, Paragraph, Span, Table, Timeline
from tsa_core.documents.report.spans import Outage, merged
from tsa_core.documents.report.tally import Tally
from tsa_core.documents.report.texts import MOST_ROWS, length, second

_SILENCE: Final = timedelta(minutes=5)
"""Sinks write a probe every minute when nothing else is to be written, so that a longer silence means something."""
_MAX_REASON: Final = 400


def closing_blocks(tally: Tally) -> Iterator[Block]:
    """Yield when the clock gate was closed."""
    yield Heading(level=2, text="Clock")
    yield Heading(level=3, text="Closings of the clock gate")
    yield from _table(
        merged(tally.gate, tally.end),
        tally,
        "The gate was never closed after it had opened, as far as the trail tells: no token was refused for the clock.",
    )


def outage_blocks(tally: Tally) -> Iterator[Block]:
    """Yield when the service was not ready, and when nothing at all was written."""
    unready = merged(tally.unready, tally.end)
    times = list(tally.minutes.silences(_SILENCE))
    longest = sorted(sorted(times, key=lambda each: each[0] - each[1])[:MOST_ROWS])
    silences = [Outage(begin=begin, end=end) for begin, end in longest]
    yield Heading(level=2, text="Outages")
    rows = [
        ("Clock gate closed", merged(tally.gate, tally.end)),
        ("Not ready", unready),
        ("Nothing written", silences),
    ]
    if any(outages for _, outages in rows):
        yield Timeline(
            title="Outages",
            begin=tally.begin,
            end=tally.end,
            rows=[(label, [_span(each, tally) for each in outages]) for label, outages in rows],
        )
    yield Heading(level=3, text="The service was not ready")
    yield from _table(unready, tally, "Never, as far as the trail tells.")
    yield Heading(level=3, text="Nothing was written")
    yield Paragraph(
        text=f"Times of {length(_SILENCE)} and more without any line. A sink writes a probe every minute while it is "
        "idle (probe_interval), so that either no process ran, or none could write, or probes are off."
    )
    yield from _table(silences, tally, "No such time.", reasons=False)
    if len(times) > len(silences):
        yield Paragraph(text=f"These are the longest of {len(times):,}.")


def _span(outage: Outage, tally: Tally) -> Span:
    end = outage.end or tally.end
    hint = f"{second(outage.begin)} to {second(end)} {outage.reason[:_MAX_REASON]}"
    return Span(begin=outage.begin, end=end, hint=hint, tone="warning")


def _table(outages: Sequence[Outage], tally: Tally, nothing: str, *, reasons: bool = True) -> Iterator[Block]:
    rows = []
    for outage in outages:
        begin = max(outage.begin, tally.begin)
        end = min(outage.end or tally.end, tally.end)
        until = second(outage.end) if outage.end else "no line says"
        row = [second(outage.begin), until, length(end - begin) if outage.end else "unknown"]
        rows.append([*row, str(len(outage.processes)), outage.reason[:_MAX_REASON]] if reasons else row)
    columns = ("From", "Until", "Length", "Processes", "Why") if reasons else ("From", "Until", "Length")
    yield Table(columns=columns, rows=rows[:MOST_ROWS], nothing=nothing)
    if rows:
        more = f" {len(rows) - MOST_ROWS} of them are not listed." if len(rows) > MOST_ROWS else ""
        known = "" if all(outage.end for outage in outages) else ", those without an end not counted"
        counted = sum((min(o.end, tally.end) - max(o.begin, tally.begin) for o in outages if o.end), timedelta())
        yield Paragraph(text=f"{len(rows)} times, {length(counted)} in all{known}.{more}")
