"""timestamp-server audit verify."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import click

from tsa_core.api.trail import Link, SegmentReport, TrailReport, check_trail
from tsa_core.cli import console
from tsa_core.cli.audit.anchor_options import anchor_verifier
from tsa_core.cli.audit.arguments import LinkType
from tsa_core.cli.audit.opening import opened_trail, printable, trail_arguments
from tsa_core.service.anchor_check import AnchorCheck, AnchorsReport

_MOST_FAULTS: Final = 20
"""Faults of anchors that are printed; the JSON has all."""


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
@click.option(
    "--anchor-roots",
    type=click.Path(path_type=Path, dir_okay=False),
    help="PEM file: the roots of the authorities that stamped the anchors  [audit.anchor_roots]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(anchor: Link | None, start: Link | None, anchor_roots: Path | None, as_json: bool, **which: Any) -> None:
    """Check that the lines are those that were written, in their order, with none missing between them.

    FILES are put in their order, and each must continue the one before it. The first one must begin with line 1, unless
    --from says which line came before, or the trail itself says that older lines were pruned. A folder that `audit
    export` made is a trail too. Exit code 1 for any damage.

    Anchors, timestamps that other authorities gave the trail (audit.anchor_urls), are checked with it: each must be
    good, and the trail must still have what was stamped. Without anchors, lines cut off at the end leave a chain that
    fits: give --anchor the NUMBER:HASH that this printed earlier, or that the server wrote into its log and
    state_directory. Without anchors and key, whoever can write the trail can make a chain that fits.

    \b
    Examples:
      timestamp-server audit verify --config tsa.toml
      timestamp-server audit verify /var/log/tsa/audit*.jsonl
      timestamp-server audit verify --key-file audit.key --anchor 4711:5d3c...e1 /var/log/tsa/audit*.jsonl
      timestamp-server audit verify --anchor /var/lib/tsa/audit/auditfile.head /var/log/tsa/audit*.jsonl
    """  # noqa: D301 - the backslash is click's mark
    verifier, threshold = anchor_verifier(anchor_roots, which["config"] if not which["files"] else None)
    anchors = AnchorCheck(verifier, threshold=threshold)
    with opened_trail(**which) as trail:
        heads = anchors.read(trail)
        tell = _Progress()
        report = check_trail(
            trail, marks={*heads, *([anchor] if anchor else [])}, starts=[start] if start else [], tell=tell.checked
        )
        tell.end()
    anchored = anchors.look_into(report)
    missing = anchor is not None and anchor in report.missing
    damaged = bool(report.faults) or any(segment.damage for segment in report.segments)
    if as_json:
        console.print_json(_document(report, anchored, anchor if missing else None))
    else:
        _print(report, anchored)
    if damaged:
        raise click.ClickException("the audit trail is not what was written")
    if not report.segments:
        raise click.ClickException("there is no trail: nothing was ever written, or all of it was removed")
    if missing and anchor is not None:
        raise click.ClickException(f"line {anchor.seq} is not there with that hash: lines were cut off or rewritten")
    if not anchored.intact:
        raise click.ClickException("the trail and its anchors do not agree; each is named above")
    for name in _continued_elsewhere(report):
        console.tell(f"not checked: what follows {name}: it was rotated, and the file that continues it is not here")
    if anchor is None and not anchored.anchors:
        console.tell(_unchecked(keyed=all(segment.keyed for segment in report.segments)))


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


def _print(report: TrailReport, anchored: AnchorsReport) -> None:
    for segment in report.segments:
        click.echo(_line(segment))
        for accepted in segment.accepted:
            click.echo(f"{segment.name}: {printable(accepted)}")
    for fault in report.faults:
        click.echo(f"DAMAGED: {printable(fault)}")
    for line in _anchor_lines(anchored):
        click.echo(printable(line))


def _continued_elsewhere(report: TrailReport) -> list[str]:
    """Return the files behind which others were written that are not here."""
    begins = {segment.first for segment in report.segments}
    return [each.name for each in report.segments if each.rotated and not each.damage and each.last not in begins]


def _unchecked(*, keyed: bool) -> str:
    """Return what a chain alone does not show."""
    anew = "" if keyed else ", or all of it was computed anew"
    return (
        f"not checked: whether lines were cut off at the end{anew}; there is no anchor (audit.anchor_urls), and no "
        "--anchor was given"
    )


def _anchor_lines(anchored: AnchorsReport) -> list[str]:
    """Return what is said of the anchors; nothing for a trail that has none and never had."""
    if not anchored.anchors and not anchored.faults:
        return []
    faults = anchored.all_faults
    lines = [f"ANCHORS: {fault}" for fault in faults[:_MOST_FAULTS]]
    if len(faults) > _MOST_FAULTS:
        lines.append(f"ANCHORS: {len(faults) - _MOST_FAULTS} more; --json has all")
    good = [anchor for anchor in anchored.anchors if not anchor.faults]
    if not anchored.verified:
        lines.append(
            f"anchors: {len(good)} of {len(anchored.anchors)} fit the trail; their timestamps were NOT VERIFIED, since "
            "nothing says which roots to trust: give --anchor-roots"
        )
    elif good:
        last = good[-1]
        named = [f"{chain} {link}".strip() for chain, link in sorted(last.heads.items())]
        heads = named[0] if len(named) == 1 else f"the heads of {len(named)} chains, which --json has"
        text = f"anchors: {len(good)} of {len(anchored.anchors)} good; the last good one, {last.number}, is of "
        lines.append(f"{text}{last.who_and_when}, up to {heads}")
    if pruned := sum(anchor.pruned for anchor in good):
        lines.append(f"anchors: {pruned} are of lines that were pruned, so that they prove nothing of what is here")
    return lines


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


def _document(report: TrailReport, anchored: AnchorsReport, missing: Link | None) -> dict[str, object]:
    damaged = bool(report.faults) or any(each.damage for each in report.segments) or not report.segments
    return {
        "intact": not damaged and missing is None and anchored.intact,
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
        "missing": None if missing is None else str(missing),
        "anchors": {
            "verified": anchored.verified,
            "faults": anchored.all_faults,
            "list": [
                {
                    "number": each.number,
                    "stamped": {url: time and time.isoformat() for url, time in each.stamped.items()},
                    "heads": {chain: str(link) for chain, link in each.heads.items()},
                    "good": not each.faults,
                    "pruned": each.pruned,
                }
                for each in anchored.anchors
            ],
        },
    }
