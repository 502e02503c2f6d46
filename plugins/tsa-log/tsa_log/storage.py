"""Where a log's public files lie: a directory that any web server can serve as it is, or what stands for one."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tsa_core.api import IMMUTABLE, TsaError, replace_file
from tsa_core.api.transparency import EncodingError, Tile, tile_at

CHECKPOINT: Final = "checkpoint"
_FOLDER_MODE: Final = 0o755
_FILE_MODE: Final = 0o644


class Conflict(TsaError):
    """Somebody else writes this log, or could without being noticed. No token may leave."""


class LogFile(NamedTuple):
    """A file below the log's prefix."""

    path: str
    data: bytes


class ServedAs(NamedTuple):
    """The values of Content-Type and Cache-Control with which a file is served."""

    content_type: str
    cache: str


_TILE: Final = ServedAs("application/octet-stream", IMMUTABLE)
_TEXT: Final = ServedAs("text/plain; charset=utf-8", "public, max-age=1")


def served_as(path: str) -> ServedAs:
    """Say how a file is served; a tile or a bundle never changes."""
    try:
        tile_at(path)
    except EncodingError:
        return _TEXT
    return _TILE


class Storage(ABC):
    """The files of one log below its prefix. All methods raise OSError; several threads may read."""

    @abstractmethod
    def read(self, path: str) -> bytes:
        """Return a file; raises FileNotFoundError when there is none."""

    @abstractmethod
    def write(self, path: str, data: bytes) -> None:
        """Store a file that never changes, whole or not at all; it is durable when this returns.

        After a crash the same files are written again.
        """

    def write_all(self, files: Sequence[LogFile]) -> None:
        """Store files that never change, in any order."""
        for path, data in files:
            self.write(path, data)

    def read_tile(self, tile: Tile) -> bytes:
        """Return a tile or bundle, of one that is full by now the part that is meant; raises FileNotFoundError."""
        try:
            return self.read(tile.path)
        except FileNotFoundError:
            if tile == tile.whole:
                raise
        return tile.part_of(self.read(tile.whole.path))

    @abstractmethod
    def update(self, path: str, change: Callable[[bytes | None], bytes]) -> None:
        """Replace a file by what `change` makes of it, or of None when there is none.

        `change` is called again with what it finds then when somebody else was faster, and raises whatever keeps it
        from going on. Where it returns what it was given, nothing is written.
        """

    @abstractmethod
    def close(self) -> None:
        """Close connections."""


class LocalStorage(Storage):
    """Files in a directory. A reader sees the old file or the new one, never a part.

    They are written in `scratch`, a directory of the same file system, so that a process that is killed leaves nothing
    among them. Its user holds a lock: nobody else writes here.
    """

    def __init__(self, root: Path, scratch: Path | None = None) -> None:
        self.root = root
        self._scratch = scratch
        self._folders: set[Path] = set()

    def read(self, path: str) -> bytes:
        """Return a file."""
        return (self.root / path).read_bytes()

    def write(self, path: str, data: bytes) -> None:
        """Store a file."""
        place = self.root / path
        if place.parent not in self._folders:
            place.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            self._folders.add(place.parent)
        replace_file(place, data, mode=_FILE_MODE, scratch=self._scratch)

    def drop_parts(self, tile: Tile) -> None:
        """Remove the partial tiles of a full one that is published, whoever wrote them: readers take that one."""
        folder = self.root / f"{tile.path}.p"
        shutil.rmtree(folder, ignore_errors=True)  # what stays takes room, and does no harm
        self._folders.discard(folder)

    def update(self, path: str, change: Callable[[bytes | None], bytes]) -> None:
        """Replace a file."""
        try:
            before = self.read(path)
        except FileNotFoundError:
            before = None
        after = change(before)
        if after != before:
            self.write(path, after)

    def close(self) -> None:
        """Do nothing: no file is open."""
