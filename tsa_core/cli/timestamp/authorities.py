"""Authorities by name: those that are known here, and those of a configuration file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.flags import Call

AUTHORITIES: Final = "authorities"
"""The table of a configuration file that names authorities."""


class Authority(NamedTuple):
    """A timestamp authority: where it is, and by what its timestamps are trusted.

    `roots` are SHA-256 fingerprints of certificates in the system's store; `trust` is what --trust takes. With neither,
    the caller has to say whom to trust.
    """

    name: str
    title: str
    url: str
    roots: tuple[str, ...] = ()
    trust: str | None = None
    note: str = ""
    origin: str = "tsa-core"


def known_authorities(tables: Mapping[str, Any]) -> dict[str, Authority]:
    """Return all authorities by name; those of a configuration file take the place of ours of that name."""
    shipped = json.loads(Path(__file__).with_name("authorities.json").read_text(encoding="utf-8"))
    found = {each["name"]: Authority(**{**each, "roots": tuple(each.get("roots", ()))}) for each in shipped}
    for name, table in tables.get(AUTHORITIES, {}).items():
        found[name] = Authority(name, name, table["url"], trust=table.get("trust"), origin="configuration file")
    return found


def authority_of(call: Call) -> Authority | None:
    """Return the authority that --tsa names, None without the flag; raises UsageMistake for an unknown one."""
    name = call.flags.get("tsa")
    if name is None:
        return None
    known = known_authorities(call.tables)
    if name not in known:
        import difflib

        alike = difflib.get_close_matches(name, known, 1)
        hint = f", did you mean {alike[0]}?" if alike else ";"
        raise UsageMistake(f"--tsa: {name!r} is not known{hint} `timestamp-cli tsa list` shows all")
    return known[name]


def servers_of(call: Call) -> tuple[str, ...]:
    """Return whom to ask: the authority of --tsa, or the servers; raises UsageMistake when both are named."""
    authority = authority_of(call)
    if authority is None:
        return tuple(call.common("timestamp_server"))
    if call.names_server:
        raise UsageMistake("--tsa and --timestamp_server both say whom to ask; give one of them")
    return (authority.url,)


def why_not_trusted(authority: Authority) -> str:
    """Return why there is no trust in an authority, and what to do."""
    if authority.roots:
        return f"none of the roots of {authority.name} is in the system's store of certificates; give --roots FILE"
    return f"no root of {authority.name} is known here; get it from {authority.title} itself, and give --roots FILE"
