"""timestamp-server audit export."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from tsa_core.api.trail.exported import export_trail
from tsa_core.cli import console
from tsa_core.cli.audit.opening import opened_trail, printable, trail_arguments


@click.command()
@trail_arguments
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="A new folder for the copy; it must not be there yet.",
)
def export(output: Path, **which: Any) -> None:
    """Copy the trail and its anchors into a new folder, which anybody can verify without the sink or its database.

    The lines are as they were stored, in files of JSON lines. `anchors` has for each anchor what was stamped (.txt) and
    the timestamps (.tsr), which other tools verify too. Nothing is verified by this command: run `audit verify FOLDER`.

    \b
    Examples:
      timestamp-server audit export --config tsa.toml --output ./evidence
      timestamp-server audit verify --anchor-roots roots.pem ./evidence
    """  # noqa: D301 - the backslash is click's mark
    shown = console.is_terminal(sys.stderr)

    def tell(name: str, lines: int) -> None:
        if shown:
            click.echo(printable(f"copied {lines} lines of {name}"), err=True)

    with opened_trail(**which) as trail:
        lines = export_trail(trail, output, tell=tell)
    click.echo(f"{output}: {lines} lines")
