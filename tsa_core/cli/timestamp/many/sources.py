"""Which files a command is about: what was typed, what lists name, and what is in directories.

A name is followed if it was typed or listed, whatever it is a link to. In a directory, links to files are followed too,
links to directories are not: so a walk ends, and stays in its tree. Sockets, devices and pipes are left out of a walk.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.files import STANDARD
from tsa_core.cli.timestamp.flags import Call
from tsa_core.cli.timestamp.many.item import Item, shown_name
from tsa_core.cli.timestamp.many.lists import read_names, read_sums, unique

SUFFIXES: Final = (".tsr", ".tst", ".p7s", ".ers")
"""Endings of files that hold proofs: a reply, a bare token (two), an evidence record (RFC 4998)."""
TEMPORARY: Final = ".timestamp-cli-"
"""How the names of files that are being written begin."""


def find_items(call: Call) -> list[Item]:
    """Return the files that a command is about, each once, in the order of the command; raises UsageMistake.

    What cannot be read is an item with a `problem`, so that the others get what they are due.
    """
    flags = call.flags
    _check_standard_input([*call.paths, *flags["from_file"], *flags["sums"]])
    names = [*call.paths]
    listed = [name for location in flags["from_file"] for name in read_names(location)]
    output = _identity(flags["out_dir"]) if flags["out_dir"] is not None else None
    items = [item for name in names for item in _typed(name, output)]
    items += [item for name in listed for item in _existing(name, output)]
    items += [item for location in flags["sums"] for item in read_sums(location)]
    found = list(unique(items))
    if not found and not call.paths:
        raise UsageMistake("which files? name FILEs, or lists of them with --from-file or --sums")
    if not found:
        raise UsageMistake("there is no file in " + ", ".join(map(shown_name, call.paths)))
    return found


def _check_standard_input(names: Iterable[str]) -> None:
    if sum(name == STANDARD for name in names) > 1:
        raise UsageMistake("standard input (-) can be only one of the files and lists")


def _typed(name: str, output: tuple[int, int] | None) -> Iterator[Item]:
    """Yield what a name on the command line means: itself, or as a pattern what it fits."""
    if name != STANDARD and glob.has_magic(name) and not os.path.lexists(name):
        fitting = sorted(glob.glob(name, recursive=True))
        if not fitting:
            raise UsageMistake(f"no file fits {shown_name(name)}")
        for each in fitting:
            if not _is_proof(each, os.path.lexists):
                yield from _existing(each, output)
    else:
        yield from _existing(name, output)


def _existing(name: str, output: tuple[int, int] | None) -> Iterator[Item]:
    if name == STANDARD:
        yield Item(name=name)
        return
    try:
        mode = os.stat(name).st_mode
    except OSError as error:
        yield Item(name=name, problem=f"cannot be read: {error.strerror}")
        return
    except ValueError as error:
        yield Item(name=name, problem=f"cannot be read: {error}")
        return
    if stat.S_ISDIR(mode):
        yield from _walk(name, output)
    elif stat.S_ISREG(mode):
        yield Item(name=name)
    else:
        yield Item(name=name, problem="is neither a file nor a directory; pipe what it gives into -")


def _walk(folder: str, output: tuple[int, int] | None) -> Iterator[Item]:
    """Yield the files below a directory, in the order of their names; `output` is left out wherever it is."""
    pending = [folder]
    while pending:
        place = pending.pop()
        try:
            with os.scandir(place) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            yield Item(name=place, problem=f"cannot be read: {error.strerror}")
            continue
        siblings = {entry.name for entry in entries}
        below = []
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if _identity(entry.path) != output:
                    below.append(entry.path)
            elif not _is_proof(entry.name, siblings.__contains__):
                yield from _entry(entry)
        pending += reversed(below)


def _entry(entry: os.DirEntry[str]) -> Iterator[Item]:
    try:
        mode = entry.stat().st_mode
    except OSError as error:
        text = "is a link to what is not there" if entry.is_symlink() else f"cannot be read: {error.strerror}"
        yield Item(name=entry.path, problem=text)
        return
    if stat.S_ISREG(mode):
        yield Item(name=entry.path)


def _is_proof(name: str, exists: Callable[[str], bool]) -> bool:
    """Say whether a name is that of the timestamp of a file beside it, or of one that is being written."""
    base, suffix = os.path.splitext(name)
    return (suffix in SUFFIXES and exists(base)) or os.path.basename(name).startswith(TEMPORARY)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
