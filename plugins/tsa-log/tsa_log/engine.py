"""Hands entries to a log that somebody else's engine keeps: a Tessera personality's `add` endpoint.

An entry may arrive twice, when an answer was lost. Engines that look for duplicates answer with the first index; in the
logs of others an entry is there twice, which proves no less.
"""

from __future__ import annotations

import http.client
import queue
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Final

from tsa_core.api.transparency import EncodingError, read_decimal
from tsa_log.bounded_http import Answer, BoundedConnection, Limit, printable, why_it_failed

_MAX_ANSWER_OCTETS: Final = 1024
_OCTETS: Final = "application/octet-stream"
_PUSHBACK: Final = frozenset({429, 503})
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0


class Engine:
    """Posts entries, `connections` at a time. What could not be posted is for the caller to post again."""

    def __init__(self, url: str, *, connections: int, headers: Mapping[str, str] | None = None) -> None:
        self.url = url.rstrip("/")
        self._headers = headers
        self._pool = ThreadPoolExecutor(connections, "log-engine")
        self._idle: queue.SimpleQueue[BoundedConnection] = queue.SimpleQueue()
        self._not_before = 0.0
        self.failure = ""
        """What was wrong in the last round; empty when every entry has an index."""

    def add(self, entries: Sequence[bytes], *, seconds: float) -> list[int | None]:
        """Post entries, in at most so many seconds; return each one's index, None for what must be posted again.

        The first failure ends the round: what comes after it is not posted. While the engine has asked for a pause
        (Retry-After), nothing is.
        """
        if monotonic() < self._not_before:
            return [None] * len(entries)
        self.failure = ""
        if not entries:
            return []
        with Limit(seconds) as limit:
            round_ = _Round(limit)
            found = list(self._pool.map(lambda entry: self._add(entry, round_), entries))
        self.failure = f"{self.url}: {round_.failure}" if round_.failure else ""
        return found

    def _add(self, entry: bytes, round_: _Round) -> int | None:
        if round_.failure or round_.limit.over:
            round_.fail("it takes too few entries in time")
            return None
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = BoundedConnection(self.url, self._headers)
        try:
            answer = connection.post("add", entry, round_.limit, most=_MAX_ANSWER_OCTETS, kind=_OCTETS)
            return self._index(answer)
        except (OSError, http.client.HTTPException) as error:
            round_.fail(f"it cannot be reached: {why_it_failed(error)}")
        except EncodingError as error:
            round_.fail(str(error))
        finally:
            self._idle.put(connection)
        return None

    def _index(self, answer: Answer) -> int:
        if answer.status in _PUSHBACK:
            asked = _FIRST_PAUSE if answer.retry_after is None else answer.retry_after
            self._not_before = monotonic() + min(asked, _LONGEST_PAUSE)
        if answer.status != 200:
            raise EncodingError(f"it answered {answer.status}: {printable(answer.body)}")
        return read_decimal(answer.body.decode("ascii", "replace").removesuffix("\n"), "the index in its answer")

    def close(self) -> None:
        """Close the connections, and take no more entries."""
        self._pool.shutdown(cancel_futures=True)
        while not self._idle.empty():
            self._idle.get_nowait().close()


class _Round:
    """What the threads that post together share."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.failure = ""
        self._lock = threading.Lock()

    def fail(self, text: str) -> None:
        """Keep the first failure."""
        with self._lock:
            self.failure = self.failure or text
