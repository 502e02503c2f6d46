"""Which files a command is about: what was typed, what lists name, and what is in directories.

A name is followed if it was typed or listed, whatever it is a link to. In a directory, links to files are followed too,
links to directories are not: so a walk ends, and stays in its tree. Sockets, devices and pipes are left out of a walk.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tsa_core.cli import console
from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.files import STANDARD
from tsa_core.cli.timestamp.flags import PROGRAM, Call
from tsa_core.cli.timestamp.many.item import Item, shown_name
from tsa_core.cli.timestamp.many.lists import read_names, read_sums, unique
from tsa_core.cli.timestamp.many.proofs import is_left_out


def journal_of(bundle: str) -> str:
    """Return where the timestamps of a bundle are until it is written."""
    return f"{bundle}.part"


def find_items(call: Call) -> list[Item]:
    """Return the files that a command is about, each once, in the order of the command; raises UsageMistake.

    What cannot be read is an item with a `problem`, so that the others get what they are due.
    """
    flags = call.flags
    _check_standard_input([*call.paths, *flags["from_file"], *flags["sums"]])
    names = [*call.paths]
    listed = [name for location in flags["from_file"] for name in read_names(location)]
    outputs = _outputs(flags)
    items = [item for name in names for item in _typed(name, outputs)]
    items += [item for name in listed for item in _existing(name, outputs)]
    items += [item for location in flags["sums"] for item in read_sums(location)]
    found = list(unique(items))
    if not found and not call.paths:
        raise UsageMistake("which files? name FILEs, or lists of them with --from-file or --sums")
    if not found:
        raise UsageMistake("there is no file in " + ", ".join(map(shown_name, call.paths)))
    return found


_Identity = tuple[int, int]


def _outputs(flags: Mapping[str, Any]) -> frozenset[_Identity]:
    """Return what a run writes, or wrote before, as far as it is there: it is never one of the files."""
    names = [flags[name] for name in ("out_dir", "manifest", "bundle") if flags[name] is not None]
    if flags["bundle"] is not None:
        names.append(journal_of(flags["bundle"]))
    return frozenset(filter(None, map(_identity, names)))


def _check_standard_input(names: Iterable[str]) -> None:
    if sum(name == STANDARD for name in names) > 1:
        raise UsageMistake("standard input (-) can be only one of the files and lists")


def _typed(name: str, outputs: frozenset[_Identity]) -> Iterator[Item]:
    """Yield what a name on the command line means: itself, or as a pattern what it fits."""
    if name != STANDARD and glob.has_magic(name) and not os.path.lexists(name):
        fitting = sorted(glob.glob(name, recursive=True))
        if not fitting:
            raise UsageMistake(f"no file fits {shown_name(name)}")
        for each in fitting:
            if not is_left_out(each, os.path.lexists) and _identity(each) not in outputs:
                yield from _existing(each, outputs)
    else:
        yield from _existing(name, outputs)


def _existing(name: str, outputs: frozenset[_Identity]) -> Iterator[Item]:
    if name == STANDARD:
        yield Item(name=name)
        return
    try:
        status = os.stat(name)
    except OSError as error:
        yield Item(name=name, problem=f"cannot be read: {error.strerror}")
        return
    except ValueError as error:
        yield Item(name=name, problem=f"cannot be read: {error}")
        return
    if stat.S_ISDIR(status.st_mode):
        yield from _walk(name, outputs)
    elif (status.st_dev, status.st_ino) in outputs:
        raise UsageMistake(f"{shown_name(name)} is given as one of the files, and as where --manifest or --bundle is")
    elif stat.S_ISREG(status.st_mode):
        yield Item(name=name)
    else:
        yield Item(name=name, problem="is neither a file nor a directory; pipe what it gives into -")


def _walk(folder: str, outputs: frozenset[_Identity]) -> Iterator[Item]:
    """Yield the files below a directory, in the order of their names; `outputs` are left out wherever they are."""
    pending = [folder]
    while pending:
        place = pending.pop()
        try:
            with os.scandir(place) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            yield Item(name=place, problem=f"cannot be read: {error.strerror}")
            continue
        beside = {entry.path for entry in entries}.__contains__
        below = []
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if _identity(entry.path) not in outputs:
                    below.append(entry.path)
            elif not is_left_out(entry.path, beside):
                yield from _entry(entry, outputs)
        pending += reversed(below)


def _entry(entry: os.DirEntry[str], outputs: frozenset[_Identity]) -> Iterator[Item]:
    try:
        status = entry.stat()
    except OSError as error:
        text = "is a link to what is not there" if entry.is_symlink() else f"cannot be read: {error.strerror}"
        yield Item(name=entry.path, problem=text)
        return
    if not stat.S_ISREG(status.st_mode):
        what = "a link to a directory" if stat.S_ISDIR(status.st_mode) else "neither a file nor a directory"
        console.tell(f"{PROGRAM}: warning: {shown_name(entry.path)} was left out: it is {what}")
    elif (status.st_dev, status.st_ino) not in outputs:
        yield Item(name=entry.path)


def _identity(path: str) -> _Identity | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
