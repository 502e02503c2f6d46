"""Prepares requests that threads sign: on the I/O thread, together, when their threads are free.

A thread that signs should do nothing else. Each time that it has called something during which other threads may run,
it waits for the interpreter, and everything that it needs has left the CPU's caches (decision 293).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from tsa_core.authority import BatchGuard, BatchTaken, PluginCalls, TimestampAuthority


class Signers(Protocol):
    """The threads of a pool. Their methods take the connection that a request came on."""

    def answer(self, channel: Any) -> None:
        """Let a thread sign the request."""

    def finish(self, channel: Any) -> None:
        """Let the I/O thread go on with the request, for it has a reply; from any thread."""


class ReadyRequest:
    """A request that a thread is free for. A batch has the `responder` prepare it and pass it on to `threads`."""

    __slots__ = ("answered", "connection", "responder", "threads")

    def __init__(self, responder: Preparer, connection: Any, threads: Signers) -> None:
        self.responder = responder
        self.connection = connection
        self.threads = threads
        self.answered = False


class Preparer:
    """Prepares the requests of one authority."""

    least_batch = 1

    def __init__(self, authority: TimestampAuthority) -> None:
        self._authority = authority

    def respond(self, batch: Sequence[ReadyRequest], guard: BatchGuard) -> float:
        """Prepare the requests and pass them on; one that is refused goes back at once. Raises BatchTaken."""
        pending = [each.connection.batched.pending for each in batch]
        failed: BaseException | None = None
        try:
            self._authority.in_threads.prepare(pending, guard)
        except BatchTaken:
            raise
        except BaseException as error:  # noqa: BLE001 - no stage raises it: memory, random numbers, a bug of ours
            failed = error
        guard.claim()
        if failed is not None:
            self._authority.fail(pending, failed)
        refused = [each.reply is not None for each in pending]
        for each, is_refused in zip(batch, refused, strict=True):
            each.answered = True
            (each.threads.finish if is_refused else each.threads.answer)(each.connection)
        return 0.0

    def give_up(self, batch: Sequence[ReadyRequest], hanging: PluginCalls) -> None:
        """Refuse the requests, because the clock hangs."""
        try:
            self._authority.give_up([each.connection.batched.pending for each in batch], hanging)
        finally:
            for each in batch:
                each.answered = True
                each.threads.finish(each.connection)
