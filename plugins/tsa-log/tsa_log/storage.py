"""Where a log's public files lie: a directory that any web server can serve as it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final

from tsa_core.api import replace_file

_FOLDER_MODE: Final = 0o755
_FILE_MODE: Final = 0o644


class Storage(ABC):
    """The files of one log below its prefix. Only the sequencer writes. All methods raise OSError."""

    @abstractmethod
    def read(self, path: str) -> bytes:
        """Return a file; raises FileNotFoundError when there is none."""

    @abstractmethod
    def write(self, path: str, data: bytes) -> None:
        """Store a file, whole or not at all; it is durable when this returns. One of that name is replaced."""


class LocalStorage(Storage):
    """Files in a directory. A reader sees the old file or the new one, never a part.

    They are written in `scratch`, a directory of the same file system, so that a process that is killed leaves nothing
    among them.
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
