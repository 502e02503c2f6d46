"""timestamp-server audit report."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from tsa_core.api import TsaError
from tsa_core.api.trail import Segment, Trail, check_trail
from tsa_core.cli import console
from tsa_core.cli.audit.anchor_options import anchor_verifier
from tsa_core.cli.audit.arguments import Moment
from tsa_core.cli.audit.opening import opened_trail, trail_arguments
from tsa_core.cli.output_document import FORMATS, document_text, put_out
from tsa_core.documents.report.report import Findings, report_of
from tsa_core.documents.report.tally import Tally
from tsa_core.service.anchor_check import AnchorCheck

_TOLD_EVERY: Final = 10_000
_MAX_YEARS: Final = 100


@click.command()
@trail_arguments
@click.option("--year", type=click.IntRange(1990, 9998), help="The year of the report, UTC.")
@click.option("--from", "begin", type=Moment(), help="In place of --year: from this time on, 2026-01-01 for example.")
@click.option("--to", "end", type=Moment(), help="With --from: before this time  [now]")
@click.option("--profile", metavar="NAME", help="Tokens, refusals and certificates of this profile alone.")
@click.option(
    "--anchor-roots",
    type=click.Path(path_type=Path, dir_okay=False),
    help="PEM file: the roots of the authorities that stamped the anchors  [audit.anchor_roots]",
)
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="markdown", show_default=True, help="What to write."
)
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Where the report goes  [stdout]"
)
def report(
    *,
    year: int | None,
    begin: datetime | None,
    end: datetime | None,
    profile: str | None,
    anchor_roots: Path | None,
    form: str,
    output: Path | None,
    **which: Any,
) -> None:
    """Write an auditor's report of a year or of another period, as Markdown or as one HTML page.

    It has key ceremonies, certificates in use, closings of the clock gate, steps of the clock, outages, starts and
    reloads, tokens by month and profile, refusals by reason, what the check of the whole trail has found, and what the
    trail cannot show. The trail is read and verified once, line by line, as `audit verify` does.

    Exit code 0: the report is written, and the trail is what was written. 1: the report is written, and says that the
    trail or its anchors are not.

    \b
    Examples:
      timestamp-server audit report --config tsa.toml --year 2026 --format html --output report-2026.html
      timestamp-server audit report --year 2026 /var/log/tsa/audit*.jsonl | pandoc -f gfm -o report-2026.pdf
      timestamp-server audit report --from 2026-04-01 --to 2026-07-01 --profile qualified ./evidence
    """  # noqa: D301 - the backslash is click's mark
    begin, end = _period(year, begin, end)
    tally = Tally(begin=begin, end=end, profile=profile)
    verifier, threshold = anchor_verifier(anchor_roots, which["config"] if not which["files"] else None)
    anchors = AnchorCheck(verifier, threshold=threshold)
    with opened_trail(**which) as trail:
        heads = anchors.read(trail)
        with _progress(trail) as advance:

            def seen(segment: Segment, fields: Mapping[str, Any]) -> None:
                tally.line(segment, fields)
                if not tally.lines % _TOLD_EVERY:
                    advance()

            checked = check_trail(trail, marks=heads, seen=seen)
        keyed = trail.key is not None
        name = trail.name
    tally.finish()
    findings = Findings(
        tally=tally,
        trail=checked,
        anchors=anchors.look_into(checked),
        sink=name,
        keyed=keyed,
        made=datetime.now(UTC),
    )
    put_out(document_text(report_of(findings), form), output)
    if not checked.segments:
        raise click.ClickException("there is no trail: nothing was ever written, or all of it was removed")
    if not findings.intact:
        raise click.ClickException("the trail, or its anchors, are not what was written; the report says what is wrong")


def _period(year: int | None, begin: datetime | None, end: datetime | None) -> tuple[datetime, datetime]:
    if year is not None:
        if begin is not None or end is not None:
            raise click.UsageError("give --year, or --from and --to")
        return datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    if begin is None:
        raise click.UsageError("of which time? Give --year 2026, or --from 2026-04-01 --to 2026-07-01")
    end = end or datetime.now(UTC)
    if begin >= end:
        raise click.UsageError("--from must be before --to")
    if (end - begin).days > _MAX_YEARS * 366:
        raise click.UsageError(f"a report is of {_MAX_YEARS} years at most")
    return begin.astimezone(UTC), end.astimezone(UTC)


@contextmanager
def _progress(trail: Trail) -> Iterator[Any]:
    """Show on a terminal how far the reading is; yields what is to be called every _TOLD_EVERY lines."""
    if not console.is_terminal(sys.stderr) or not console.has_rich():
        yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("reading the trail"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console.stderr(), transient=True) as progress:
        task = progress.add_task("lines", total=_lines_of(trail))
        yield lambda: progress.advance(task, _TOLD_EVERY)


def _lines_of(trail: Trail) -> int | None:
    """Return how many lines a trail has, if its ends tell it without reading; None otherwise."""
    try:
        heads = trail.heads()
        first: dict[str, int] = {}
        for segment in trail.segments():
            first.setdefault(segment.chain, segment.start.seq)
    except TsaError:
        return None
    if set(first) - set(heads):
        return None
    return sum(heads[chain].seq - start for chain, start in first.items())
