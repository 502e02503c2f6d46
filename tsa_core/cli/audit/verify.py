"""timestamp-server audit verify."""

from __future__ import annotations

import sys
from typing import Any

import click

from tsa_core.api.trail import Link, SegmentReport, TrailReport, check_trail
from tsa_core.cli import console
from tsa_core.cli.audit.arguments import LinkType
from tsa_core.cli.audit.opening import opened_trail, printable, trail_arguments


@click.command()
@trail_arguments
@click.option(
    "--anchor", type=LinkType(), help="A line that must be there, noted earlier: NUMBER:HASH, or a file that holds it."
)
@click.option(
    "--from",
    "start",
    type=LinkType(),
    help="The last line before the first one, when older ones are kept elsewhere: NUMBER:HASH, or a file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(anchor: Link | None, start: Link | None, as_json: bool, **which: Any) -> None:
    r"""Check that the lines are those that were written, in their order, with none missing between them.

    FILES are put in their order, and each must continue the one before it. The first one must begin with line 1, unless
    --from says which line came before, or the trail itself says that older lines were pruned. Exit code 1 for any
    damage.

    Lines cut off at the end of the last file leave a chain that fits: give --anchor the NUMBER:HASH that this printed
    earlier, or that the server wrote into its log and state_directory. Without a key, whoever can write the files can
    make a chain that fits.

    \b
    Examples:
      timestamp-server audit verify --config tsa.toml
      timestamp-server audit verify /var/log/tsa/audit*.jsonl
      timestamp-server audit verify --key-file audit.key --anchor 4711:5d3c...e1 /var/log/tsa/audit*.jsonl
      timestamp-server audit verify --anchor /var/lib/tsa/audit/auditfile.head /var/log/tsa/audit*.jsonl
    """
    with opened_trail(**which) as trail:
        tell = _Progress()
        report = check_trail(
            trail, marks=[anchor] if anchor else [], starts=[start] if start else [], tell=tell.checked
        )
        tell.end()
    if as_json:
        console.print_json(_document(report))
    else:
        for segment in report.segments:
            click.echo(_line(segment))
            for accepted in segment.accepted:
                click.echo(f"{segment.name}: {printable(accepted)}")
        for fault in report.faults:
            click.echo(f"DAMAGED: {printable(fault)}")
    if report.faults or any(segment.damage for segment in report.segments):
        raise click.ClickException("the audit trail is not what was written")
    if not report.segments:
        raise click.ClickException("there is no trail: nothing was ever written, or all of it was removed")
    for link in report.missing:
        raise click.ClickException(f"line {link.seq} is not there with that hash: lines were cut off or rewritten")


class _Progress:
    """Says on a terminal how far the check is."""

    def __init__(self) -> None:
        self._shown = console.is_terminal(sys.stderr)
        self._segments = self._lines = 0

    def checked(self, report: SegmentReport) -> None:
        """Count a segment."""
        self._segments += 1
        self._lines += report.lines
        if self._shown:
            click.echo(f"\rchecked {self._lines} lines in {self._segments} pieces", err=True, nl=False)

    def end(self) -> None:
        """End the line."""
        if self._shown:
            click.echo(err=True)


def _state(report: SegmentReport) -> str:
    if report.damage:
        return "damaged"
    return "intact" if report.ended else "intact, open"


def _line(report: SegmentReport) -> str:
    name = f"{report.name} ({report.chain})" if report.chain else report.name
    if report.damage:
        return printable(f"{name}: DAMAGED: {report.damage}")
    text = f"{name}: {_state(report)}: {report.lines} lines, {report.tokens} tokens"
    if report.refusals:
        text += f", {report.refusals} refusals"
    if report.begun:
        text += f", since {report.begun}"
    if not report.ended:
        text += "; a server writes to it, was killed, or the end was cut off"
    return printable(f"{text}; {report.last}")


def _document(report: TrailReport) -> dict[str, object]:
    return {
        "intact": report.intact and bool(report.segments),
        "files": [
            {
                "file": each.name,
                "chain": each.chain,
                "state": _state(each),
                "damage": each.damage,
                "lines": each.lines,
                "tokens": each.tokens,
                "refusals": each.refusals,
                "begun": each.begun,
                "keyed": each.keyed,
                "accepted": each.accepted,
                "continues": str(each.first),
                "anchor": str(each.last),
            }
            for each in report.segments
        ],
        "faults": report.faults,
        "missing": [str(link) for link in report.missing],
    }
