"""Prints lines of a trail that were found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from tsa_core.api.trail import Query, Trail, UnreadableLine
from tsa_core.cli.audit.opening import printable


def print_lines(trail: Trail, query: Query, *, as_json: bool) -> int:
    """Print the lines that a query means, as they are or as columns, and return how many there were."""
    count = 0
    for found in trail.find(query):
        if isinstance(found, UnreadableLine):
            click.echo(printable(f"{found.segment}: line {found.number}: {found.reason}"), err=True)
            continue
        count += 1
        if as_json:
            click.echo(found.line.decode("ascii", "replace").rstrip("\n"))
        else:
            click.echo("\t".join(_columns(found.fields)))
    return count


def _columns(fields: Mapping[str, Any]) -> list[str]:
    """Return what people read; control characters of a stranger's making do not reach the terminal."""
    time = str(fields.get("gen_time") or fields.get("time") or "")
    if fields["type"] == "token":
        names = ("serial", "profile", "policy", "client", "request_id")
        values = [time, "token", *(str(fields.get(name, "")) for name in names)]
    elif fields["type"] == "refusal":
        names = ("failure", "profile", "reason", "client", "request_id")
        values = [time, "refusal", *(str(fields.get(name, "")) for name in names)]
    else:
        rest = {k: v for k, v in fields.items() if k not in {"seq", "type", "time", "hash", "kind", "filler"}}
        values = [time, str(fields.get("kind", fields["type"])), json.dumps(rest, separators=(",", ":"))]
    return [printable(value) for value in values]
