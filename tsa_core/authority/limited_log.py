"""Logs failures that come with every request: the first at once, then every ten seconds how many more there were."""

from __future__ import annotations

import logging
import threading
from time import monotonic
from typing import Final

PERIOD_SECONDS: Final = 10.0
_MAX_KINDS: Final = 64
"""Kinds are told apart by the names of exceptions, of which a plugin could make any number."""


class _Kind:
    __slots__ = ("last", "unlogged", "until")

    def __init__(self) -> None:
        self.until = 0.0
        self.unlogged = 0
        self.last = ""


class LimitedLog:
    """One line for each kind of failure in ten seconds. Thread-safe.

    What was not logged is counted, and told with the text of the last one: before the next line of its kind, or when
    `flush` is called, which a thread does once a second.
    """

    def __init__(self, log: logging.Logger, *, period: float = PERIOD_SECONDS) -> None:
        self._log = log
        self._period = period
        self._lock = threading.Lock()
        self._kinds: dict[str, _Kind] = {}

    def error(self, kind: str, request_id: str, text: str, *, cause: BaseException | None = None) -> None:
        """Log that a request failed, with the traceback of `cause`, unless another of its kind did a moment ago."""
        with self._lock:
            if kind not in self._kinds and len(self._kinds) >= _MAX_KINDS:
                kind = ""
            entry = self._kinds.setdefault(kind, _Kind())
            now = monotonic()
            if now < entry.until:
                entry.unlogged += 1
                entry.last = text
                return
            self._tell(entry)
            entry.until = now + self._period
        self._log.error("request %s: %s", request_id, text, exc_info=cause)

    def flush(self, *, end: bool = False) -> None:
        """Tell what was not logged, of each kind whose ten seconds are over; with `end`, of all."""
        now = monotonic()
        with self._lock:
            for entry in self._kinds.values():
                if entry.unlogged and (end or now >= entry.until):
                    self._tell(entry)
                    entry.until = now + self._period

    def _tell(self, entry: _Kind) -> None:
        if entry.unlogged:
            self._log.error(
                "%d more requests failed in the last seconds and were not logged; the last: %s",
                entry.unlogged,
                entry.last,
            )
            entry.unlogged = 0
