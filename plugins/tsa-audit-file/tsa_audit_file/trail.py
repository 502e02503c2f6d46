"""The trail as files: what `timestamp-server audit` reads, accepts, prunes and anchors."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from tsa_audit_file.anchors import AnchorFolder
from tsa_audit_file.ends import read_end, read_first_unchecked, read_tail
from tsa_audit_file.journal import Journal
from tsa_audit_file.tampering import fault_path, read_fault
from tsa_core.api import AuditEvent, ConfigError, open_regular
from tsa_core.api.trail import (
    MAX_LINE_OCTETS,
    PRUNED,
    Anchor,
    BrokenChainError,
    Hash,
    Link,
    Segment,
    Trail,
    begin_hash,
    event_members,
    read_line,
    time_of,
    utc_text,
)

_ARCHIVED: Final = r"-[0-9]{6,}-[0-9]{8}T[0-9]{6}Z"


class FileTrail(Trail):
    """The trail of the files that `files` lists; `path` is the one that is written to, the others are rotated ones."""

    name = "auditfile"

    def __init__(self, files: Callable[[], Iterable[Path]], path: Path, key: bytes | None) -> None:
        self._files = files
        self._path = path
        self.key = key
        self._current: BinaryIO | None = None
        self._anchors = AnchorFolder(path.with_name(f"{path.name}.anchors"))

    def segments(self) -> Sequence[Segment]:
        """Return the files in the order in which they were written; raises ConfigError for one that needs a key.

        The one that is written to is kept open, so that its lines are the same after it is rotated.
        """
        while True:
            self.close()
            with contextlib.suppress(OSError):
                self._current = os.fdopen(open_regular(self._path), "rb")
            ordered = self._ordered()
            if self._current is None or _is_at(self._current, self._path):
                return [self._segment(path, first) for path, first in ordered]

    def _read(self, path: Path) -> Iterator[bytes]:
        """Return the lines of a file."""
        if path != self._path or self._current is None:
            return read_lines(path)
        self._current.seek(0)
        return lines_of(self._current, path)

    def close(self) -> None:
        """Let go of the file that is written to."""
        if self._current is not None:
            self._current.close()
            self._current = None

    def newest(self) -> Path:
        """Return the file that was begun last."""
        return self._ordered()[-1][0]

    def _ordered(self) -> list[tuple[Path, tuple[dict[str, Any], Link] | str]]:
        firsts = [(path, _first_line(path)) for path in distinct(self._files())]
        return sorted(firsts, key=lambda each: (0 if isinstance(each[1], str) else each[1][1].seq, each[0]))

    def _segment(self, path: Path, first: tuple[dict[str, Any], Link] | str) -> Segment:
        if isinstance(first, str):
            return Segment(name=str(path), lines=lambda: self._read(path), damage=first)
        fields, link = first
        keyed = fields.get("keyed") is True
        damage = ""
        if fields["type"] != "file":
            damage = "line 1: the file's beginning is missing"
        elif keyed and self.key is None:
            raise ConfigError("it was written with a key; give it with --key-file", path=str(path))
        elif not keyed and self.key is not None:
            # Whoever has no key could otherwise replace the file by one that needs none.
            damage = "line 1: the file was written without a key"
        return Segment(
            name=str(path),
            lines=lambda: self._read(path),
            start=Link(link.seq - 1, str(fields.get("previous"))),
            begun=str(fields.get("time", "")),
            keyed=keyed,
            damage=damage,
        )

    def heads(self) -> Mapping[str, Link]:
        """Return the last whole line of the file that is written to."""
        try:
            with os.fdopen(open_regular(self._path), "rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_SH)
                size = os.fstat(stream.fileno()).st_size
                os.fdatasync(stream.fileno())
                fcntl.flock(stream, fcntl.LOCK_UN)
                data, _ = read_tail(stream.fileno(), size)
            lines = data[: data.rfind(b"\n") + 1].split(b"\n")[:-1]
            return {"": read_line(lines[-1] + b"\n")[1]} if lines else {}
        except FileNotFoundError:
            return {}
        except (OSError, BrokenChainError) as error:
            raise ConfigError(f"its end cannot be read: {error}", path=str(self._path)) from None

    def prune(self, before: datetime, *, dry_run: bool = False) -> Sequence[str]:
        """Remove rotated files that ended before a time, the oldest first; the file that is written to stays."""
        going: list[Path] = []
        last, begun = Link(), begin_hash(self.key)
        for path, first in self._ordered():
            end = None if isinstance(first, str) or path == self._path else _last_line(path, begun)
            if end is None or (moment := time_of(end[0])) is None or moment >= before:
                break
            going.append(path)
            last = end[1]
        if going and not dry_run:
            details = {"chain": "", "last": str(last), "before": utc_text(before), "files": str(len(going))}
            self._record(AuditEvent(kind=PRUNED, time=datetime.now(UTC), details=details))
            for path in going:
                self._remove(path)
        return [str(path) for path in going]

    def _remove(self, path: Path) -> None:
        try:
            path.unlink()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise ConfigError(f"it cannot be removed: {error.strerror}", path=str(path)) from None

    def _record(self, event: AuditEvent) -> None:
        """Add an event to the file that is written to; raises ConfigError when that fails."""
        if not self._path.exists():
            raise ConfigError("there is no such file, which would be written to", path=str(self._path))
        try:
            with closing(Journal(self._path, key=self.key)) as journal:
                journal.recall_fault()
                journal.append([event_members(event)])
                journal.sync()
        except (OSError, BrokenChainError) as error:
            text = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise ConfigError(f"it cannot be written: {text}", path=str(self._path)) from None

    def accept(self, reason: str, *, begin_anew: bool = False) -> Sequence[str]:
        """Accept what is there; `begin_anew` moves a file that cannot be continued aside."""
        fault = read_fault(self._path)
        if fault is None:
            file = fault_path(self._path).name
            raise BrokenChainError(f"no server has found a fault in {self._path}: there is no {file}")
        try:
            with closing(Journal(self._path, key=self.key)) as journal:
                found, last = journal.accept(fault, reason, new_file=begin_anew)
        except BrokenChainError as error:
            raise BrokenChainError(
                f"what is there cannot be continued: {error}. With a wrong or missing --key-file that is no surprise; "
                "--new-file moves a damaged file aside"
            ) from None
        except OSError as error:
            raise ConfigError(f"it cannot be written: {error.strerror}", path=str(self._path)) from None
        return [
            f"accepted: {fault.reason}",
            f"the last line that was known: {fault.expected}; found: {found or 'nothing'}",
            f"the trail goes on in {self._path}; {last}",
        ]

    def anchors(self) -> Iterator[Anchor]:
        """Yield the anchors in the folder beside the file that is written to."""
        return self._anchors.read_all()

    def last_anchor(self) -> Anchor | None:
        """Return the anchor with the highest number; the others are not read."""
        return self._anchors.read_last()

    def store_anchor(self, anchor: Anchor) -> None:
        """Store an anchor in a file of its own."""
        self._anchors.store(anchor)

    def anchoring(self) -> contextlib.AbstractContextManager[bool]:
        """Lock the folder of the anchors."""
        return self._anchors.locked()


def trail_of_files(files: Sequence[Path], key: bytes | None) -> FileTrail:
    """Return the trail of files in any order; the one that is written to is the newest of them."""
    path = files[0] if len(files) == 1 else FileTrail(lambda: files, files[0], key).newest()
    return FileTrail(lambda: files, path, key)


def trail_at(path: Path, key: bytes | None) -> FileTrail:
    """Return the trail that is written to a path, with the rotated files beside it."""
    archived = re.compile(re.escape(path.stem) + _ARCHIVED + re.escape(path.suffix))

    def files() -> list[Path]:
        try:
            rotated = [each for each in path.parent.iterdir() if archived.fullmatch(each.name)]
        except OSError as error:
            raise ConfigError(f"its directory cannot be read: {error.strerror}", path=str(path)) from None
        return [*sorted(rotated), *([path] if path.exists() else [])]

    return FileTrail(files, path, key)


def _is_at(stream: BinaryIO, path: Path) -> bool:
    """Say whether an open file still has its name, or nothing has."""
    status = os.fstat(stream.fileno())
    try:
        there = path.stat()
    except OSError:
        return True
    return (status.st_dev, status.st_ino) == (there.st_dev, there.st_ino)


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file as it is now; raises ConfigError when it cannot be read."""
    try:
        stream = os.fdopen(open_regular(path), "rb")
    except OSError as error:
        raise ConfigError(f"it cannot be read: {error.strerror or error}", path=str(path)) from None
    with stream:
        yield from lines_of(stream, path)


def lines_of(stream: BinaryIO, path: Path) -> Iterator[bytes]:
    """Yield the lines of an open file as it is now; the last one without its newline when it was torn.

    Raises ConfigError when it cannot be read. A server may go on writing: what it adds meanwhile is left out.
    """
    try:
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


def _first_line(path: Path) -> tuple[dict[str, Any], Link] | str:
    """Return the first line's object and link, which the order of files goes by, or what is wrong with it."""
    line = next(read_lines(path), b"")
    if not line:
        return "the file is empty"
    try:
        return read_line(line)
    except BrokenChainError as error:
        return f"line 1: {error}"


def _last_line(path: Path, begun: Hash) -> tuple[dict[str, Any], Link] | None:
    """Return the last line's object and link, None when it is torn; raises BrokenChainError when it does not hold.

    A prune tells of it in an event that is chained with the key: what anybody wrote there is nothing to repeat.
    """
    try:
        with os.fdopen(open_regular(path), "rb") as stream:
            descriptor = stream.fileno()
            end = read_end(descriptor, os.fstat(descriptor).st_size, path, read_first_unchecked(descriptor), begun)
    except OSError:
        return None
    return None if end.torn else (end.last, end.link)
