"""Reads the usual command line of timestamp-cli without click, whose import takes a third of what a command takes.

Whatever is not usual is left to click: a question for help, a flag that is unknown, repeated, abbreviated or has a
wrong value, variables, a configuration file. So nothing is refused here, and every message is click's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from tsa_core.cli.boolean_words import WORDS
from tsa_core.cli.timestamp.flags import COMMON, CONFIG, Call, Flag

_VARIABLES: Final = ("TIMESTAMP_", "TSA_", "_TIMESTAMP_CLI_COMPLETE")
HOME_FILES: Final = tuple(f".timestamp{suffix}" for suffix in (".json", ".toml", ".yaml", ".yml"))
"""In $HOME: the file that Sigstore's client would read unasked."""
OWN_FILE: Final = "timestamp-cli.toml"


class _Read(NamedTuple):
    values: dict[str, Any]
    rest: list[str]


def may_be_quick(environ: Mapping[str, str]) -> bool:
    """Say whether nothing but the command line gives flags."""
    if any(name.startswith(_VARIABLES) for name in environ):
        return False
    return not any(map(os.path.exists, unasked_files(environ)))


def unasked_files(environ: Mapping[str, str]) -> list[str]:
    """Return the files that are read when no --config names one: ours first, in $XDG_CONFIG_HOME or ~/.config."""
    home, folder = environ.get("HOME"), environ.get("XDG_CONFIG_HOME")
    if not (folder and folder.startswith("/")):  # anything else counts as not set, says the XDG specification
        folder = f"{home}/.config" if home else None
    own = [f"{folder}/{OWN_FILE}"] if folder else []
    return own + ([f"{home}/{name}" for name in HOME_FILES] if home else [])


def split_command(arguments: Sequence[str]) -> tuple[_Read, str] | None:
    """Return the common flags before a command's name with what follows it, and the name; None for what is unusual."""
    before = _read(arguments, COMMON)
    if before is None or not before.rest:
        return None
    return _Read(before.values, before.rest[1:]), before.rest[0]


def quick_call(before: _Read, flags: Sequence[Flag]) -> Call | None:
    """Return the call of a command with these flags and the common ones; None for what is unusual."""
    own = _read(before.rest, (*flags, *COMMON))
    if own is None or own.rest or CONFIG in {*own.values, *before.values}:
        return None
    values, common, names_server = own.values, {}, False
    if any(each.required and each.name not in values for each in flags):
        return None
    for each in COMMON:
        if each.multiple:
            # The one flag of this kind: the servers to ask.
            given = (*before.values.get(each.name, ()), *values.get(each.name, ()))
            common[each.name], names_server = given or each.unset, bool(given)
        elif each.name in values and each.name in before.values:
            return None
        else:
            common[each.name] = values.get(each.name, before.values.get(each.name, each.unset))
    return Call({each.name: values.get(each.name, each.unset) for each in flags}, common, names_server=names_server)


def _read(arguments: Sequence[str], flags: Sequence[Flag]) -> _Read | None:
    """Return the values of the flags up to the first word that is none, and what follows; None for what is unusual."""
    known = {spelling: each for each in flags for spelling in each.spellings}
    values: dict[str, Any] = {}
    place = 0
    while place < len(arguments) and arguments[place].startswith("-"):
        spelling, equals, text = arguments[place].partition("=")
        each = known.get(spelling)
        if each is None:
            return None
        place += 1
        if each.boolean:
            value: Any = WORDS.get(text) if equals else True
        else:
            if not equals:
                if place == len(arguments):
                    return None
                text, place = arguments[place], place + 1
                if text.startswith("-") and text != "-":
                    return None
            value = _value(each, text)
        if value is None or (each.name in values and not each.multiple):
            return None
        values[each.name] = (*values.get(each.name, ()), value) if each.multiple else value
    return _Read(values, list(arguments[place:]))


def _value(each: Flag, text: str) -> Any:
    """Return what a text means as the value of a flag; None for what click has to complain of, or may."""
    if not text or (each.choices and text not in each.choices):
        return None
    if each.is_number:
        small = text.isascii() and text.isdigit() and len(text) < 10
        inside = small and (each.least or 0) <= int(text) <= (int(text) if each.most is None else each.most)
        return int(text) if inside else None
    if each.convert is None:
        return text
    try:
        return each.convert(text)
    except ValueError:
        return None
