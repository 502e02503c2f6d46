"""timestamp-cli tsa list: the authorities that have names."""

from __future__ import annotations

from typing import Any

from tsa_core.cli import console
from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.authorities import Authority, known_authorities
from tsa_core.cli.timestamp.flags import Call
from tsa_core.cli.timestamp.shown import shown_url


def list_authorities(call: Call) -> None:
    """List the authorities that --tsa knows.

    With name, address, and by what their timestamps are trusted. Certificates of others do not come with tsa-core:
    "system store" are certificates of this system's store, chosen by their SHA-256; "--roots needed": get the root from
    the authority. [authorities.NAME] in the configuration file adds yours.
    """
    rows = [(each, *_trusted_by(each)) for each in known_authorities(call.tables).values()]
    if call.as_json:
        console.print_json({"Authorities": [_document(authority, found) for authority, _, found in rows]})
        return
    columns = ("Name", "Address", "Trusted by")
    console.print_table(columns, [(each.name, shown_url(each.url), text) for each, text, _ in rows], fixed=1)


def _trusted_by(authority: Authority) -> tuple[str, int | None]:
    """Return by what an authority is trusted, and how many of its roots the system has, None if that is no question."""
    note = f"; {authority.note}" if authority.note else ""
    if authority.trust is not None:
        return f"--trust {shown_url(authority.trust)}{note}", None
    if not authority.roots:
        return f"--roots needed{note}", None
    from tsa_core.cli.timestamp.system_store import system_roots

    try:
        found = len(system_roots(authority.roots))
    except UsageMistake:
        found = 0
    return f"system store, {found} of {len(authority.roots)} roots{note}", found


def _document(authority: Authority, found: int | None) -> dict[str, Any]:
    return {
        "Name": authority.name,
        "URL": shown_url(authority.url),
        "Trust": authority.trust and shown_url(authority.trust),
        "Roots": list(authority.roots),
        "RootsInSystemStore": found,
        "Note": authority.note or None,
        "Origin": authority.origin,
    }
