"""Whether a command line of ours names commands and flags that there are."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Iterator

import click

PROGRAMS = ("timestamp-server", "timestamp-cli", "fetch-tsa-certs", "certificate-maker")
_SEPARATORS = {"|", "||", "&&", ";", "&"}
_REDIRECTIONS = {">", ">>", "<", "<<", ">&"}
_KEYWORDS = {"!", "do", "done", "else", "fi", "if", "then", "while"}
_CHOICE_HOLE = re.compile(r"[A-Z]{2,}|\.\.\.|\$")
"""What a page writes for a value that the reader chooses."""


@functools.cache
def program(name: str) -> click.Command:
    """Return a program's click command."""
    if name == "timestamp-server":
        from tsa_core.cli.server_group import server

        return server
    if name == "timestamp-cli":
        from tsa_core.cli.timestamp.group import cli

        return cli
    if name == "certificate-maker":
        from tsa_core.cli.certificate_maker import certificate_maker

        return certificate_maker
    from tsa_core.cli.fetch_tsa_certs import fetch_tsa_certs

    return fetch_tsa_certs


def words(line: str) -> list[str]:
    """Return a shell line's words, with its separators as words of their own, and without its here document."""
    lexer = shlex.shlex(
        line.partition("<<")[0].replace("\\\n", " ").replace("\n", " ; "), posix=True, punctuation_chars="|&;<>"
    )
    lexer.whitespace_split = True
    return list(lexer)


def _simple_commands(line: str) -> Iterator[list[str]]:
    """Yield the words of each simple command in a shell line, without redirections and variables before it."""
    command: list[str] = []
    redirected = False
    for word in [*words(line), ";"]:
        if word in _SEPARATORS:
            while command and command[0] in _KEYWORDS:
                command = command[1:]
            if command and command[0] != "for":
                yield command
            command = []
        elif word in _REDIRECTIONS:
            redirected = True
        elif redirected:
            redirected = False
        elif command or "=" not in word:
            command.append(word if command else word.rpartition("/")[2])


def commands(line: str) -> Iterator[str]:
    """Yield the name of each program in a shell line."""
    for command in _simple_commands(line):
        yield command[0]


def calls(line: str) -> Iterator[list[str]]:
    """Yield each call of a program of ours in a shell line: its name and its arguments."""
    for command in _simple_commands(line):
        if command[0] in PROGRAMS:
            yield command


def complaints(call: list[str]) -> list[str]:
    """Return what is wrong with a call: commands that are not there, flags that its command has not, wrong choices."""
    name, *arguments = call
    command = program(name)
    context = click.Context(command, info_name=name)
    flags = _flags(command)
    found = []
    pending: click.Option | None = None
    for word in arguments:
        if pending is not None:
            found += _wrong_choice(pending, word)
            pending = None
        elif word.startswith("--") and len(word) > 2:
            flag, _, value = word.partition("=")
            option = flags.get(flag)
            if option is None:
                found.append(f"{context.command_path} has no flag {flag}")
            elif value:
                found += _wrong_choice(option, value)
            elif not option.is_flag and option._flag_needs_value is False:
                pending = option
        elif isinstance(command, click.Group) and word not in {"...", "-h"} and not word.startswith("-"):
            below = command.get_command(context, word)
            if below is None:
                if not _CHOICE_HOLE.search(word):
                    found.append(f"{context.command_path} has no command {word}")
                return found
            command, context = below, click.Context(below, info_name=word, parent=context)
            flags = {**flags, **_flags(command)}
    return found


@functools.cache
def _flags(command: click.Command) -> dict[str, click.Option]:
    options = [each for each in command.get_params(click.Context(command)) if isinstance(each, click.Option)]
    flags = {name: option for option in options for name in (*option.opts, *option.secondary_opts)}
    if command.name == "server":
        # The flags of `serve` may stand before a command's name.
        from tsa_core.cli.serve import serve

        return {**_flags(serve), **flags}
    return flags


def _wrong_choice(option: click.Option, value: str) -> list[str]:
    choices = getattr(option.type, "choices", None)
    if choices is None or value in choices or _CHOICE_HOLE.search(value):
        return []
    return [f"{option.opts[0]} takes {', '.join(map(str, choices))}, and not {value}"]
