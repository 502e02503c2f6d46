"""Walks files from the first line to the last and checks that each follows the one before it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tsa_audit_file.chain import BEGINNING, MAX_LINE_OCTETS, BrokenChainError, Link, begin_hash, check_line, read_line
from tsa_core.api import ConfigError

_FINAL_TYPES: Final = frozenset({"end", "close"})


@dataclass(kw_only=True)
class FileReport:
    """What one file holds; `damage` is empty when every line is as it was written.

    `first` is where the chain was before this file, `last` where it is after it. `ended` says whether the last line is
    one that a process or a rotation writes when it is done: without it the file is in use, or was cut off there.
    """

    path: Path
    first: Link = BEGINNING
    last: Link = BEGINNING
    lines: int = 0
    tokens: int = 0
    begun: str = ""
    ended: bool = False
    keyed: bool = False
    damage: str = ""
    accepted: list[str] = field(default_factory=list)
    """What an operator has accepted: lines that are missing for good."""
    anchored: bool = field(default=False, repr=False)
    """Whether the anchor that was asked for is a line of this file."""


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file as it is now; the last one without its newline when it was torn.

    Raises ConfigError when it cannot be read. A server may go on writing: what it adds meanwhile is left out.
    """
    try:
        with path.open("rb") as stream:
            # Between two appends the end is the end of a line.
            fcntl.flock(stream, fcntl.LOCK_SH)
            left = os.fstat(stream.fileno()).st_size
            fcntl.flock(stream, fcntl.LOCK_UN)
            while left > 0 and (line := stream.readline(min(left, MAX_LINE_OCTETS))):
                left -= len(line)
                yield line
    except OSError as error:
        raise ConfigError(f"it cannot be read: {error.strerror or error}", path=str(path)) from None


def distinct(paths: Iterable[Path]) -> list[Path]:
    """Return the files by one name each: a process that is killed while it rotates leaves one with two."""
    found: dict[object, Path] = {}
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            found[path] = path  # whoever reads it says why that fails
        else:
            found.setdefault((status.st_dev, status.st_ino), path)
    return list(found.values())


def first_fields(path: Path) -> dict[str, Any]:
    """Return the first line's object, empty when it is none; what the order of files goes by."""
    try:
        fields, _ = read_line(next(read_lines(path), b""))
    except BrokenChainError:
        return {}
    return fields


def check_file(path: Path, *, key: bytes | None = None, anchor: Link | None = None) -> FileReport:
    """Check one file by itself and stop at the first damage; raises ConfigError when it cannot be checked."""
    report = FileReport(path=path)
    kind = ""
    begun = begin_hash(key)
    for number, line in enumerate(read_lines(path), 1):
        try:
            if number == 1:
                _begin(report, line, key)
            fields, report.last = check_line(line, report.last, begun)
        except BrokenChainError as error:
            report.damage = f"line {number}: {error}"
            return report
        kind = fields["type"]
        report.lines = number
        report.tokens += kind == "token"
        if kind == "event" and fields.get("kind") == "audit.accepted":
            report.accepted.append(_acceptance(number, fields))
        report.anchored = report.anchored or report.last == anchor
    report.ended = kind in _FINAL_TYPES
    if not report.lines:
        report.damage = "the file is empty"
    return report


def _acceptance(number: int, fields: dict[str, Any]) -> str:
    details = fields.get("details")
    texts = {name: str(text)[:500] for name, text in details.items()} if isinstance(details, dict) else {}
    return (
        f"line {number}: accepted by an operator at {fields.get('time')}: {texts.get('fault')}; "
        f"line {texts.get('expected')} was the last one known, found was {texts.get('found')}; "
        f"reason: {texts.get('reason')}"
    )


def _begin(report: FileReport, line: bytes, key: bytes | None) -> None:
    fields, link = read_line(line)
    if fields["type"] != "file":
        raise BrokenChainError("the file's beginning is missing")
    report.keyed = fields.get("keyed") is True
    if report.keyed and key is None:
        raise ConfigError("it was written with a key; give it with --key-file", path=str(report.path))
    if not report.keyed and key is not None:
        # Whoever has no key could otherwise replace the file by one that needs none.
        raise BrokenChainError("the file was written without a key")
    report.begun = str(fields.get("time", ""))
    report.first = report.last = Link(link.seq - 1, str(fields.get("previous")))


def check_files(
    paths: list[Path], *, key: bytes | None = None, anchor: Link | None = None, start: Link = BEGINNING
) -> list[FileReport]:
    """Check files in the order in which they were written, and that each continues the one before it.

    The first one must continue `start`, the beginning of the trail unless older files are kept elsewhere.
    """
    ordered = sorted(distinct(paths), key=lambda path: (first_fields(path).get("seq", 0), path))
    reports: list[FileReport] = []
    for path in ordered:
        report = check_file(path, key=key, anchor=anchor)
        before = reports[-1] if reports else None
        if before and not before.damage and not report.damage and report.first != before.last:
            report.damage = (
                f"the file does not continue {before.path.name}, which ends with number {before.last.seq}: "
                f"it continues number {report.first.seq}; a file is missing, or one was cut off"
            )
        if not before and not report.damage and report.first != start:
            first = f"{report.first.seq}:{report.first.digest}"
            report.damage = (
                f"the file does not begin the trail, but continues line {report.first.seq}: older files are missing; "
                f"if they are kept elsewhere and end with that line, give --from {first}"
                if start == BEGINNING
                else f"the file continues {first}, and not {start.seq}:{start.digest}"
            )
        reports.append(report)
    return reports
