"""Tells an observer of requests in a thread of its own."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tsa_core.api import Observer, RequestOutcome
from tsa_core.service.background_queue import BackgroundQueue

log = logging.getLogger(__name__)


class QueuedObserver(BackgroundQueue[RequestOutcome], Observer):
    """Queues outcomes for an observer, whose failures are logged, whatever it raises."""

    def __init__(self, name: str, observer: Observer, *, limit: int) -> None:
        super().__init__(f"observer-{name}", limit=limit)
        self._name = name
        self._observer = observer

    def observe(self, outcome: RequestOutcome) -> None:
        """Queue an outcome; waits for nothing."""
        self.put(outcome)

    def _give(self, items: Sequence[RequestOutcome]) -> None:
        for outcome in items:
            try:
                self._observer.observe(outcome)
            except BaseException:
                log.exception("the observer %r crashed", self._name)

    def _tell_lost(self, count: int, why: str) -> None:
        log.warning(
            "the observer %r does not keep up: it was not told of %d requests (%s; [observe] queue_limit = %d)",
            self._name,
            count,
            why,
            self._limit,
        )
