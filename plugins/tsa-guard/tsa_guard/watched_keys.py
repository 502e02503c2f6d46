"""The keys as they are in the file now: a thread looks at the file once a second."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from tsa_core.api import ConfigError
from tsa_guard.key_file import ApiKey, read_keys

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0


class WatchedKeys:
    """The keys by identifier. A file that cannot be read changes nothing, and the log says so once.

    So a key that was revoked opens nothing any more within a second or two, without a reload.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mark = self._look()
        self.keys: dict[str, ApiKey] = read_keys(path)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="api-keys", daemon=True)
        self._thread.start()

    def _look(self) -> tuple[int, ...] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _run(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            mark = self._look()
            if mark == self._mark:
                continue
            self._mark = mark
            try:
                self.keys = read_keys(self._path)
            except ConfigError as error:
                log.error("the API keys stay as they were: %s", error)  # noqa: TRY400 - says it all
            else:
                log.info("%s has changed: %d API keys", self._path, len(self.keys))

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join(_LOOK_SECONDS)
