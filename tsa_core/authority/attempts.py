"""Takes requests through a stage, whatever the stage raises."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from tsa_core.authority.batch_guard import BatchGuard
from tsa_core.authority.pending_request import LeaveThread, PendingRequest
from tsa_core.authority.replies import Replies

Stage: TypeAlias = Callable[[PendingRequest], None]


class Attempts:
    """Takes each request through a stage. A request for which the stage raises is refused, a plugin's crash too."""

    def __init__(self, replies: Replies) -> None:
        self._replies = replies

    def __call__(self, stage: Stage, batch: Iterable[PendingRequest], guard: BatchGuard | None = None) -> None:
        """Take all requests through the stage; raises LeaveThread, and BatchTaken when the guard was taken."""
        for pending in batch:
            try:
                stage(pending)
            except LeaveThread:
                raise
            except BaseException as error:  # noqa: BLE001 - sys.exit() in a plugin is no reason to end
                if guard is None:
                    self._replies.fail(pending, error)
                    continue
                with guard.lock:
                    guard.check()
                    self._replies.fail(pending, error)
