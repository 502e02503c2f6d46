"""Tells the heads of the audit trails once a minute, so that what is cut off later is missed elsewhere."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

from tsa_core.api import AuditSink, replace_file

log = logging.getLogger(__name__)

_PERIOD_SECONDS = 60.0


class AuditHeads:
    """Writes each sink's `head` into the log and, with a directory, into NAME.head there; `numbers` is for the gauge.

    A head that has not changed is not repeated. A thread does it; `keep_running` starts it, and again if it has died or
    could not be started.
    """

    def __init__(
        self, sinks: Sequence[tuple[str, AuditSink]], directory: Path | None, *, period: float = _PERIOD_SECONDS
    ) -> None:
        self._sinks = sinks
        self._directory = directory
        self._period = period
        self._told: dict[str, str] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.numbers: dict[str, int] = {}
        """The number of the last record by sink, as it was told last."""

    def keep_running(self) -> None:
        """Start the thread unless it runs."""
        if not self._sinks or self._stopping.is_set() or (self._thread is not None and self._thread.is_alive()):
            return
        thread = threading.Thread(target=self._run, name="audit-heads", daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            log.error("the thread that tells the audit trail's head cannot be started: %s", error)  # noqa: TRY400 - no traceback
            return
        self._thread = thread

    def close(self, *, seconds: float = 1.0) -> None:
        """Stop, and wait `seconds` at most for the thread; may be called more than once."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stopping.wait(self._period):
            self.tell()

    def tell(self) -> None:
        """Tell the heads now; a failure is logged, and the next minute tries again."""
        for name, sink in self._sinks:
            try:
                head = sink.head()
                if head is None or head == self._told.get(name):
                    continue
                self.numbers[name] = int(head.partition(":")[0])
                log.info("audit trail %s: head %s", name, head)
                if self._directory is not None:
                    _write(self._directory, f"{name}.head", head)
                self._told[name] = head
            except BaseException:
                log.exception("the head of the audit trail %s could not be told", name)


def _write(directory: Path, name: str, head: str) -> None:
    """Replace a file at once, since several processes write it."""
    directory.mkdir(parents=True, exist_ok=True)
    replace_file(directory / name, f"{head}\n".encode("ascii"), mode=0o600)
