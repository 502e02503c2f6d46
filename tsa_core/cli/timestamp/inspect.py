"""timestamp-cli inspect: show what a timestamp says."""

from __future__ import annotations

from typing import Any

import click

from tsa_core.cli import console
from tsa_core.cli.timestamp.files import read_file
from tsa_core.cli.timestamp.options import common, common_options, option


@click.command()
@option("--timestamp", "reply", required=True, metavar="FILE", help="The reply or the bare token; - for stdin.")
@common_options
@click.pass_context
def inspect(ctx: click.Context, /, **flags: Any) -> None:
    """Show what a timestamp says; nothing is verified."""
    from tsa_core.cli.timestamp.description import describe_reply, rows

    description = describe_reply(read_file(flags["reply"]))
    if common(ctx, "output_format") == "json":
        console.print_json({"TimestampResponse": description})
    else:
        console.print_facts(("Field", "Value"), rows(description))
