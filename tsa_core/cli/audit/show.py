"""timestamp-server audit show."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from tsa_core.api.trail import Query
from tsa_core.cli.audit.arguments import Moment, SerialNumber
from tsa_core.cli.audit.lines import print_lines
from tsa_core.cli.audit.opening import opened_trail, trail_arguments


@click.command()
@trail_arguments
@click.option("--serial", type=SerialNumber(), help="Serial number of a token, in hexadecimal.")
@click.option("--profile", help="Tokens of this profile.")
@click.option("--client", help="Tokens that this address asked for.")
@click.option("--since", type=Moment(), help="From this time on, 2026-11-22 or 2026-11-22T15:50:00Z.")
@click.option("--until", type=Moment(), help="Before this time.")
@click.option("--events", is_flag=True, help="Everything that is no token, no refusal and no probe.")
@click.option("--json", "as_json", is_flag=True, help="Print the lines as they are.")
def show(
    *,
    serial: int | None,
    profile: str | None,
    client: str | None,
    since: datetime | None,
    until: datetime | None,
    events: bool,
    as_json: bool,
    **which: Any,
) -> None:
    """Print lines: time, kind, serial number, profile, policy, client and request id, or what happened.

    Nothing is verified. Exit code 1 when there is no such line.

    \b
    Examples:
      timestamp-server audit show --since 2026-11-22 /var/log/tsa/audit.jsonl
      timestamp-server audit show --serial 4f2a...91 --json /var/log/tsa/audit*.jsonl
    """  # noqa: D301 - the backslash is click's mark
    query = Query(serial_number=serial, profile=profile, client=client, since=since, until=until, events=events)
    with opened_trail(**which) as trail:
        if not print_lines(trail, query, as_json=as_json):
            raise click.ClickException("there is no such line")
