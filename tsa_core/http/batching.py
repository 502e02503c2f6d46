"""Requests that are begun one by one and finished together.

A server that reads several requests before it sends a reply puts BATCH into environ. The application then only reads
the request, leaves the rest to `Batch.finish` and returns DEFERRED. What it saves is said at
`TimestampAuthority.finish`, and an audit sink that waits for its disk waits once for all.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from tsa_core.authority import Pending

log = logging.getLogger(__name__)

BATCH = "tsa_core.batch"
"""In environ: takes a BatchedRequest, and lets its reply leave when it is finished."""

DEFERRED: list[bytes] = []
"""What the application returns for a request that was given to BATCH."""

_ENOUGH_SECONDS = 0.003
"""How long replies may wait for each other: with a slow key none does."""
_MOST = 32
"""More do not cost less each."""


class BatchedRequest:
    """A request that an application has begun. `application` finishes several, and gives each its reply by `answer`.

    It notes that it did (`answered`), and returns the seconds that grow with their number; a disk that they wait for
    together does not count.
    `answer` and `connection` are the server's. `environ` keeps what the request belongs to from being closed meanwhile.
    """

    __slots__ = ("answer", "answered", "application", "connection", "environ", "pending", "request_id")

    answer: Callable[[str, list[tuple[str, str]], bytes], None]
    connection: Any

    def __init__(
        self,
        application: Callable[[Sequence[BatchedRequest]], float],
        pending: Pending,
        environ: dict[str, Any],
        request_id: str,
    ) -> None:
        self.application = application
        self.answered = False
        self.pending = pending
        self.environ = environ
        self.request_id = request_id


class Batch:
    """Requests that will be finished together, and how many shall be: as many as take three milliseconds.

    Thread-safe, though one thread at a time should call. `close` ends a connection whose replies could not be made,
    which no application should let happen.
    """

    def __init__(self, close: Callable[[Any], None]) -> None:
        self._close = close
        self._begun: deque[BatchedRequest] = deque()
        self._enough = 1

    def add(self, begun: BatchedRequest) -> None:
        """Take a request."""
        self._begun.append(begun)

    @property
    def enough(self) -> bool:
        """Whether no more should wait."""
        return len(self._begun) >= self._enough

    def finish(self) -> int:
        """Answer them all, and return how many there were."""
        begun = self._take()
        if not begun:
            return 0
        seconds = 0.0
        groups: dict[Any, list[BatchedRequest]] = {}
        for each in begun:
            groups.setdefault(each.application, []).append(each)
        for application, group in groups.items():
            try:
                seconds += application(group)
            except Exception:
                lost = [each for each in group if not each.answered]
                log.exception("%d requests could not be answered; their connections are closed", len(lost))
                for each in lost:
                    self._close(each.connection)
        if seconds > _ENOUGH_SECONDS:
            self._enough = max(1, min(self._enough, len(begun)) // 2)
        elif len(begun) >= self._enough:
            self._enough = min(_MOST, self._enough * 2)
        return len(begun)

    def _take(self) -> list[BatchedRequest]:
        begun = []
        try:
            while True:
                begun.append(self._begun.popleft())
        except IndexError:
            return begun
