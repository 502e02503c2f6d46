"""timestamp-server audit migrate."""

from __future__ import annotations

from typing import Any

import click

from tsa_core.cli.audit.opening import opened_trail, printable, trail_arguments


@click.command()
@trail_arguments
def migrate(**which: Any) -> None:
    """Bring the tables of a sink's database to those that the installed version writes.

    Needed before a server starts whose sink does not do it by itself (migrate = false). Servers may run meanwhile.

    \b
    Examples:
      timestamp-server audit migrate --config tsa.toml
    """  # noqa: D301 - the backslash is click's mark
    with opened_trail(**which) as trail:
        done = trail.migrate()
    for line in done:
        click.echo(printable(line))
    if not done:
        click.echo("nothing to do: the tables are up to date", err=True)
