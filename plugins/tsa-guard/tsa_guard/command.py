"""`timestamp-server keys`: makes, lists and revokes API keys."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from tsa_core.api import ConfigError
from tsa_guard.key_file import ApiKey, changed_keys, new_key, read_keys, revoked

_file = click.option(
    "--file",
    "path",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file of keys: [middleware.guard] keys.",
)


@click.group()
def keys() -> None:
    """Make, list and revoke the API keys of clients.

    The file has the keys' hashes, so nobody can use what is in it. A running server notices a change within a second.
    """


@keys.command()
@_file
@click.option("--name", required=True, help="Who the key is for; logs and the audit trail say it.")
@click.option("--tenant", default="", help="The customer or department that the client belongs to.")
@click.option("--days", type=click.IntRange(1, 36_500), help="How long the key is good.  [for ever]")
def new(path: Path, name: str, tenant: str, days: int | None) -> None:
    """Make a key, and print it: the only time that anybody sees it.

    \b
    Example:
      timestamp-server keys new --file /etc/tsa/keys.jsonl --name build-server --tenant acme --days 365
    """  # noqa: D301 - the backslash is click's mark
    expires = datetime.now(UTC) + timedelta(days=days) if days else None
    try:
        text, key = new_key(name=name, tenant=tenant, expires=expires)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    with changed_keys(path) as known:
        known[key.id] = key
    click.echo(f"The key {key.id} is in {path}. Give this to the client; it cannot be shown again:", err=True)
    click.echo(text)


@keys.command("list")
@_file
@click.option("--json", "as_json", is_flag=True, help="A JSON object in a line for each key.")
def list_keys(path: Path, *, as_json: bool) -> None:
    """List the keys: identifier, name, tenant, and whether each is good."""
    now = datetime.now(UTC)
    for key in read_keys(path).values():
        if as_json:
            facts = {"id": key.id, "name": key.name, "tenant": key.tenant, "created": key.created}
            click.echo(json.dumps({**facts, "expires": key.expires or None, "state": key.state(now)}))
        else:
            until = f"until {key.expires}" if key.expires and not key.revoked else ""
            click.echo("  ".join(filter(None, (key.id, key.state(now), key.tenant, key.name, until))))


@keys.command()
@_file
@click.argument("identifier")
def revoke(path: Path, identifier: str) -> None:
    """Revoke a key by its identifier, the part between the underscores; a whole key is understood as well."""
    wanted = identifier.split("_")[1] if identifier.startswith("tsak_") and "_" in identifier[5:] else identifier
    with changed_keys(path) as known:
        key: ApiKey | None = known.get(wanted)
        if key is None:
            said = f"there is no key {wanted[:20]!r}; `timestamp-server keys list` shows them"
            raise ConfigError(said, path=str(path))
        if not key.revoked:
            known[wanted] = revoked(key)
    click.echo(f"The key {wanted} of {key.name} opens nothing any more.")
