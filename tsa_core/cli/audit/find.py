"""timestamp-server audit find."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import click

from tsa_core.api.trail import REFUSAL, TOKEN, Query
from tsa_core.cli.audit.arguments import Digest, Interval, SerialNumber
from tsa_core.cli.audit.lines import print_lines
from tsa_core.cli.audit.opening import opened_trail, trail_arguments

_BOTH: Final = frozenset({TOKEN, REFUSAL})


@click.command()
@trail_arguments
@click.option("--digest", type=Digest(), help="The digest that was timestamped, in hexadecimal.")
@click.option("--serial", type=SerialNumber(), help="The serial number, in hexadecimal.")
@click.option("--between", type=Interval(), metavar="TIME/TIME", help="From the first time on, and before the second.")
@click.option("--tenant", help="The tenant of whoever asked.")
@click.option("--identity", help="The name of whoever asked.")
@click.option("--json", "as_json", is_flag=True, help="Print the lines as they are.")
def find(
    *,
    digest: bytes | None,
    serial: int | None,
    between: tuple[datetime, datetime] | None,
    tenant: str | None,
    identity: str | None,
    as_json: bool,
    **which: Any,
) -> None:
    """Find tokens and refusals; everything that is given must hold.

    A token prints its time, serial number, profile, policy, client and request id; a refusal its time, failure,
    profile, reason, client and request id. Nothing is verified. A digest is found where the sink records digests.
    Exit code 1 when there is none.

    \b
    Examples:
      timestamp-server audit find --config tsa.toml --digest $(sha256sum < release.tar | cut -c1-64)
      timestamp-server audit find --config tsa.toml --tenant acme --between 2026-11-01/2026-12-01
    """  # noqa: D301 - the backslash is click's mark
    if digest is None and serial is None and between is None and tenant is None and identity is None:
        raise click.UsageError("say what to find: --digest, --serial, --between, --tenant or --identity")
    since, until = between or (None, None)
    query = Query(
        serial_number=serial,
        digest=digest,
        tenant=tenant,
        identity=identity,
        since=since,
        until=until,
        types=frozenset({TOKEN}) if serial is not None else _BOTH,
    )
    with opened_trail(**which) as trail:
        if print_lines(trail, query, as_json=as_json):
            return
        if digest is not None and not trail.records_digests():
            raise click.ClickException("no line has a digest: this sink does not record them")
    raise click.ClickException("there is no such token or refusal")
