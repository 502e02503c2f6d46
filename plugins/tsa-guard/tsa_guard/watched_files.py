"""Reads files again when they change: a thread looks at them periodically."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from tsa_core.api import TsaError

log = logging.getLogger(__name__)

T = TypeVar("T")

_LOOK_SECONDS = 1.0


class WatchedFiles(Generic[T]):
    """`value` is what `read` makes of the files as they are. Thread-safe.

    What `read` raises at first is raised here. Later it changes nothing, and the log says so once for each change;
    `what` names the value there.
    """

    def __init__(self, what: str, paths: Sequence[Path], read: Callable[[], T]) -> None:
        self._what = what
        self._paths = paths
        self._read = read
        self._marks = self._look()
        self.value = read()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=what, daemon=True)
        self._thread.start()

    def _look(self) -> list[tuple[int, ...]]:
        return [_mark(path) for path in self._paths]

    def _run(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            marks = self._look()
            if marks == self._marks:
                continue
            self._marks = marks
            try:
                self.value = self._read()
            except TsaError as error:
                log.error("%s stay as they were: %s", self._what, error)  # noqa: TRY400 - says it all
            except Exception:  # without this thread a key that is revoked would count for ever
                log.exception("%s stay as they were", self._what)
            else:
                log.info("%s were read again", self._what)

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join(_LOOK_SECONDS)


def _mark(path: Path) -> tuple[int, ...]:
    """Return what tells one state of a file from another; nothing for one that is not there."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns
