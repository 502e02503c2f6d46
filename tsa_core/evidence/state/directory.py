"""A state directory: its batches, its lock, and what a crash left behind."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tsa_core.durable import sync_folder
from tsa_core.evidence.state.batch import Batch, StateError
from tsa_core.evidence.state.files import write_new

__all__ = ["StateDirectory", "StateError"]

FORMAT: Final = 1
_FILE: Final = "evidence.json"
_BATCHES: Final = "batches"
_NEW: Final = ".new"


class StateDirectory:
    """A directory with evidence; `create` makes a new one. Raises StateError for what is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            document = json.loads((path / _FILE).read_bytes())
        except FileNotFoundError:
            raise StateError(f"{path} holds no evidence; `evidence create` makes it") from None
        except (OSError, ValueError) as error:
            raise StateError(f"{path / _FILE} cannot be read: {error}") from None
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise StateError(f"{path / _FILE} is of another format; this version reads {FORMAT}")

    @classmethod
    def create(cls, path: Path) -> StateDirectory:
        """Make a new directory, or one in an empty folder; raises StateError when there is something already."""
        try:
            path.mkdir(mode=0o755, parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise StateError(f"{path} is not empty; `evidence add` adds to evidence that is there")
            (path / _BATCHES).mkdir()
            write_new(path / _FILE, json.dumps({"format": FORMAT}).encode())
            sync_folder(path)
        except OSError as error:
            raise StateError(f"{path} cannot be made: {error.strerror}") from None
        return cls(path)

    def batches(self) -> list[Batch]:
        """Return all batches, oldest first."""
        return [Batch.read(folder) for folder in self._folders()]

    def _folders(self) -> list[Path]:
        try:
            return sorted(each for each in (self.path / _BATCHES).iterdir() if not each.name.startswith("."))
        except OSError as error:
            place = self.path / _BATCHES
            raise StateError(f"{place} cannot be read: {error.strerror}; restore it from a backup") from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for one writer; raises StateError when another one works there."""
        with (self.path / "lock").open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StateError(f"another process is writing to {self.path}; try again when it is done") from None
            yield

    @contextmanager
    def new_folder(self) -> Iterator[Path]:
        """Give a folder for a new batch, which becomes one, durably, when the block ends without an error."""
        folder = self.path / _BATCHES / _NEW
        shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed: nothing refers to it
        folder.mkdir()
        try:
            yield folder
            sync_folder(folder)
            folder.rename(self.folder_of(self.next_number()))
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def next_number(self) -> int:
        """Return the number of the batch that comes next."""
        return max((int(each.name) for each in self._folders() if each.name.isdigit()), default=0) + 1

    def folder_of(self, number: int) -> Path:
        """Return the folder of a batch by its number."""
        return self.path / _BATCHES / f"{number:06}"

    def newest(self) -> Batch | None:
        """Return the batch that was made last; None before the first one."""
        folders = self._folders()
        return Batch.read(folders[-1]) if folders else None
