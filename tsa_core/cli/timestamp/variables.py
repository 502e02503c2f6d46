"""Environment variables that nearly have the name of one of ours, and are therefore not read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

import click

from tsa_core.cli.program_group import all_commands

_PREFIX = "TIMESTAMP_"
_SERVER_PREFIX = "TSA_"
_SERVER = f"{_PREFIX}TIMESTAMP_SERVER"
_MEANING_THE_SERVER = frozenset({"TSA_URL", "TSA_SERVER", "TSA_HOST", "TIMESTAMP_URL", "TIMESTAMP_SERVER_URL"})
_OF_TIMESTAMP_SERVER = frozenset({"TSA_CONFIG"})
_ALIKE = 0.85


def known_variables(group: click.Group) -> frozenset[str]:
    """Return the variables that the flags of a group and its commands read."""
    names: set[str] = set()
    for command in (group, *all_commands(group).values()):
        inner = command.commands.values() if isinstance(command, click.Group) and command is not group else ()
        for parameter in (parameter for each in (command, *inner) for parameter in each.params):
            variables = parameter.envvar or ()
            names.update([variables] if isinstance(variables, str) else variables)
    return frozenset(names)


def nearly_named(environment: Iterable[str], known: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Yield each variable that somebody may have meant for this program, and the name that it reads instead.

    A mistake of this kind is silent: without TIMESTAMP_TIMESTAMP_SERVER, a digest goes to the default server.
    """
    for name in sorted(environment):
        if name in known or name in _OF_TIMESTAMP_SERVER:
            continue
        if name in _MEANING_THE_SERVER:
            yield name, _SERVER
        elif name.startswith(_PREFIX):
            if _PREFIX + name in known:
                yield name, _PREFIX + name
            elif alike := difflib.get_close_matches(name, known, 1, _ALIKE):
                yield name, alike[0]
        elif name.startswith(_SERVER_PREFIX) and _PREFIX + name.removeprefix(_SERVER_PREFIX) in known:
            yield name, _PREFIX + name.removeprefix(_SERVER_PREFIX)
