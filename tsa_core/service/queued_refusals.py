"""Tells an audit sink of refused requests in a thread of its own."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from tsa_core.api import AuditError, AuditSink, RefusalRecord, one_line
from tsa_core.service.background_queue import BackgroundQueue

log = logging.getLogger(__name__)

_LIMIT: Final = 10_000
"""Records that wait at most: some 10 MB of the longest."""


class QueuedRefusals(BackgroundQueue[RefusalRecord]):
    """Queues refusals for a sink that wants them.

    A refusal that cannot be stored, or for which there is no room, is lost: it is counted, and the log says so, but no
    token is withheld for it. Anybody can cause refusals, and a client that causes many must not stop the others.
    """

    together = 1_000  # which a sink stores with one sync

    def __init__(self, name: str, sink: AuditSink, *, limit: int = _LIMIT) -> None:
        super().__init__(f"refusals-{name}", limit=limit)
        self._name = name
        self._sink = sink

    def _give(self, items: Sequence[RefusalRecord]) -> None:
        try:
            self._sink.write_refusals(items)
        except AuditError as error:
            self._lose(len(items), one_line(error))
        except BaseException as error:
            log.exception("the audit sink %r crashed", self._name)
            self._lose(len(items), type(error).__name__)

    def _tell_lost(self, count: int, why: str) -> None:
        log.error("the audit sink %r has no record of %d refused requests: %s", self._name, count, why)
