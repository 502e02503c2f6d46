"""timestamp-server audit accept."""

from __future__ import annotations

from typing import Any

import click

from tsa_core.api.trail import BrokenChainError
from tsa_core.cli.audit.opening import lost_trail_arguments, opened_trail


@click.command()
@lost_trail_arguments
@click.option("--reason", required=True, help="What was found out; written into the trail.")
@click.option(
    "--new-file", is_flag=True, help="Move the file aside and begin a new one; for a file that cannot be continued."
)
def accept(reason: str, new_file: bool, **which: Any) -> None:
    """Accept a trail that became shorter, was replaced, removed or rolled back, so that tokens are issued again.

    FILES is one file, the `path` of [audit.auditfile]; it may be missing. First copy its directory, and find out what
    happened: what is missing stays missing. A new file continues what is there. Its first lines say what should have
    been there, when it was accepted and why. Running servers go on within a second; none needs a restart. Exit code 1
    when nothing is to be accepted.

    \b
    Examples:
      timestamp-server audit accept --reason "restored from backup, INC-4711" /var/log/tsa/audit.jsonl
    """  # noqa: D301 - the backslash is click's mark
    if len(which["files"]) > 1:
        raise click.UsageError("name one file: the one that the server writes to")
    with opened_trail(**which) as trail:
        try:
            lines = trail.accept(reason, begin_anew=new_file)
        except BrokenChainError as error:
            raise click.ClickException(str(error)) from None
    for line in lines:
        click.echo(line)
