"""The anchors beside the file: one file for each, `audit.jsonl.anchors/00000007.json`."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tsa_audit_file.shared_file import FILE_MODE
from tsa_core.api import ConfigError, open_regular, replace_file
from tsa_core.api.trail import MAX_ANCHOR_OCTETS, Anchor, BrokenAnchorError

_DIRECTORY_MODE: Final = 0o700
_NAME: Final = re.compile(r"([0-9]{8,18})\.json", re.ASCII)


class AnchorFolder:
    """A folder of anchors, made when the first one is stored."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last = 0
        """The highest number that was found; there may be higher ones by now."""

    def read_all(self) -> Iterator[Anchor]:
        """Yield the anchors by number; raises BrokenAnchorError for a file that is none."""
        return map(self._read, self._numbers())

    def read_last(self) -> Anchor | None:
        """Return the anchor with the highest number; lists the folder, which may be long, only at first."""
        if not self._last or not self._path(self._last).exists():
            self._last = max(self._numbers(), default=0)
        while self._path(self._last + 1).exists():
            self._last += 1
        return self._read(self._last) if self._last else None

    def _numbers(self) -> list[int]:
        try:
            return sorted(int(found[1]) for each in self._folder.iterdir() if (found := _NAME.fullmatch(each.name)))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._error("read", error) from None

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:08d}.json"

    def _read(self, number: int) -> Anchor:
        path = self._path(number)
        try:
            with os.fdopen(open_regular(path), "rb") as stream:
                data = stream.read(MAX_ANCHOR_OCTETS + 1)
        except OSError as error:
            raise self._error("read", error) from None
        try:
            anchor = Anchor.from_json(data)
        except BrokenAnchorError as error:
            raise BrokenAnchorError(f"{path}: {error}") from None
        if anchor.number != number:
            raise BrokenAnchorError(f"{path}: it has the number {anchor.number}")
        return anchor

    def store(self, anchor: Anchor) -> None:
        """Store an anchor, all of it or nothing; raises ConfigError when that fails, or when there is one already."""
        try:
            self._make()
            above = self._folder.parent.stat()
            owner = (above.st_uid, above.st_gid) if os.geteuid() == 0 else None
            path = self._path(anchor.number)
            replace_file(path, anchor.to_json(), mode=FILE_MODE, owner=owner, exclusive=True)
        except OSError as error:
            raise self._error("written", error) from None

    def _make(self) -> None:
        if not self._folder.is_dir():
            self._folder.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
            if os.geteuid() == 0:
                status = self._folder.parent.stat()
                os.chown(self._folder, status.st_uid, status.st_gid)

    @contextlib.contextmanager
    def locked(self) -> Iterator[bool]:
        """Lock the folder, unless another process has locked it; False then."""
        try:
            self._make()
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise self._error("opened", error) from None
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)

    def _error(self, done: str, error: OSError) -> ConfigError:
        return ConfigError(f"anchors cannot be {done} there: {error.strerror or error}", path=str(self._folder))
