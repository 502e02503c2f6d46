"""timestamp-cli inspect: show what a timestamp says."""

from __future__ import annotations

from typing import Final

from tsa_core.cli import console
from tsa_core.cli.timestamp.files import read_timestamp
from tsa_core.cli.timestamp.flags import Call, flag

FLAGS: Final = (
    flag("--timestamp", name="reply", required=True, metavar="FILE", help="The reply or the bare token; - for stdin."),
)


def inspect(call: Call) -> None:
    """Show what a timestamp says; nothing is verified."""
    from tsa_core.cli.timestamp.description import describe_reply, rows

    description = describe_reply(read_timestamp(call.flags["reply"]))
    if call.as_json:
        console.print_json({"TimestampResponse": description})
    else:
        console.print_facts(("Field", "Value"), rows(description))
