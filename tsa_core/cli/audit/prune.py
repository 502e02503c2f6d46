"""timestamp-server audit prune."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from tsa_core.cli.audit.arguments import Moment
from tsa_core.cli.audit.opening import opened_trail, printable, trail_arguments


@click.command()
@trail_arguments
@click.option("--before", required=True, type=Moment(), help="Remove what is older than this time.")
@click.option("--dry-run", is_flag=True, help="Print what would be removed, and change nothing.")
def prune(before: datetime, dry_run: bool, **which: Any) -> None:
    """Remove old records: whole files, or whole months of a database, that ended before a time.

    First an event says in the trail up to which line it goes, with that line's hash, so that `audit verify` takes the
    rest as a whole trail. What is removed cannot be proven any more; copy it first, if it may be asked for. The piece
    that is written to stays.

    \b
    Examples:
      timestamp-server audit prune --config tsa.toml --before 2019-01-01 --dry-run
    """  # noqa: D301 - the backslash is click's mark
    if before > datetime.now(UTC):
        raise click.UsageError("--before is a time to come; say from when on records are kept")
    with opened_trail(**which) as trail:
        gone = trail.prune(before, dry_run=dry_run)
    for name in gone:
        click.echo(printable(f"{'would remove' if dry_run else 'removed'} {name}"))
    if not gone:
        click.echo("nothing to remove: no whole piece of the trail is older", err=True)
