"""Reads files again when they change: a thread looks at them periodically."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Final, Generic, TypeVar

from tsa_core.api import TsaError

log = logging.getLogger(__name__)

T = TypeVar("T")

_LOOK_SECONDS = 1.0
_RETRY_SECONDS = 10.0
"""Between two readings of files that cannot be read, which may take a second each."""
_NEVER: Final = math.inf


class WatchedFiles(Generic[T]):
    """`value` is what `read` makes of the files as they are. Thread-safe.

    What `read` raises at first is raised here. Later it changes nothing, and the log says so once for each change;
    `what` names the value there. It is tried again, since the cause may pass while the files stay as they are.
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
        again = _NEVER
        while not self._ended.wait(_LOOK_SECONDS):
            marks = self._look()
            changed = marks != self._marks
            if not changed and monotonic() < again:
                continue
            self._marks = marks
            again = _NEVER if self._read_again(tell=changed) else monotonic() + _RETRY_SECONDS

    def _read_again(self, *, tell: bool) -> bool:
        """Return whether the files could be read; `tell` lets the log say why not."""
        try:
            self.value = self._read()
        except TsaError as error:
            if tell:
                log.error("%s stay as they were: %s", self._what, error)  # noqa: TRY400 - says it all
            return False
        except Exception:  # without this thread a key that is revoked would count for ever
            if tell:
                log.exception("%s stay as they were", self._what)
            return False
        log.info("%s were read again", self._what)
        return True

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
