"""Where requests run: on the I/O thread, until one needs a signer that waits; then in a pool of that profile's own.

Reading a request and choosing its profile takes microseconds, and so does all the rest when the key is in memory. A
request for a signer that waits for a backend stops at that point (HandOver) and is run again, by one of the profile's
threads. So one backend's trouble is nobody else's: other profiles, /ping and /healthz are answered as ever.

Each pool has `[server] threads`, started as they are needed, and a queue that is bounded by length (`queue_limit`) and
age (`queue_timeout`): what is beyond either is refused with systemFailure and a text, at once, while the backend still
hangs.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import Any, NoReturn, Protocol

from waitress.task import ThreadedTaskDispatcher

from tsa_core.config import ServerSettings
from tsa_core.http.batching import Batch

log = logging.getLogger(__name__)

ENTER = "tsa_core.enter"
"""In environ: called with a pool's name before a request waits for something."""

QUEUED_SECONDS = "tsa_core.queued_seconds"
"""In environ of a request that a pool runs: how long it stood in the queue; infinite when the queue was full."""

_SEND_TOGETHER_SECONDS = 0.001
_COMPLAINT_SECONDS = 10.0


class HandOver(BaseException):
    """Ends a request's run on the I/O thread, to be run again by a pool.

    No Exception, because neither the framework nor anything else on the way may take it for a failure.
    """

    def __init__(self, pool: str) -> None:
        super().__init__(pool)
        self.pool = pool


def hand_over(pool: str) -> NoReturn:
    """Leave the I/O thread; `pool` is the name of a profile, or of anything else that may wait."""
    raise HandOver(pool)


def stay(_pool: str) -> None:
    """Go on: the request runs where it may wait."""


class ConnectionPoller(Protocol):
    """What waits for events on the connections; the server that runs the application has one."""

    def refresh(self, channel: Any) -> None:
        """Ask a connection again whether it wants to be read from or written to."""


class _Run:
    """One request in a thread of its pool."""

    def __init__(self, pool: Pool, channel: Any) -> None:
        self._pool = pool
        self._channel = channel

    def service(self) -> None:
        try:
            self._channel.service()
        finally:
            self._pool.done.append((self._pool, self._channel))
            # waitress woke the loop before this note was made, so once more.
            self._channel.server.pull_trigger()

    def cancel(self) -> None:
        self._channel.cancel()


class Pool:
    """The threads and the queue of one profile. Everything but the requests themselves happens on the I/O thread."""

    def __init__(self, settings: ServerSettings, done: deque[tuple[Pool, Any]]) -> None:
        self.done = done
        self.waiting: deque[tuple[float, Any]] = deque()
        self._limit = settings.queue_limit
        self._longest_seconds = settings.queue_timeout.total_seconds()
        self._most = settings.threads
        self._threads = ThreadedTaskDispatcher()
        self._started = 0
        self._running = 0
        self._next_complaint = 0.0

    def add(self, channel: Any) -> bool:
        """Run a channel's request, or queue it; returns False when the queue is full, or no thread can be had."""
        if self._running < self._most and self._has_thread():
            self._run(channel, 0.0)
        elif self._started and len(self.waiting) < self._limit:
            self.waiting.append((time.monotonic(), channel))
        else:
            return False
        return True

    def finished(self) -> None:
        """Take note that a request has been answered, and run the next one."""
        self._running -= 1
        if self.waiting:
            since, channel = self.waiting.popleft()
            self._run(channel, time.monotonic() - since)

    def next_too_old(self) -> tuple[float, Any] | None:
        """Take a request out that has waited too long, with the seconds; None when there is none."""
        if self.waiting and (waited := time.monotonic() - self.waiting[0][0]) > self._longest_seconds:
            return waited, self.waiting.popleft()[1]
        return None

    def _has_thread(self) -> bool:
        """Say whether a thread is free, or can be started: the system may allow no more of them."""
        if self._running < self._started:
            return True
        try:
            self._threads.set_thread_count(self._started + 1)
        except RuntimeError as error:
            # waitress has noted it already, and would wait for its end.
            self._threads.threads.discard(self._started)
            now = time.monotonic()
            if now >= self._next_complaint:
                self._next_complaint = now + _COMPLAINT_SECONDS
                log.error("a profile has %d threads and can have no more: %s", self._started, error)  # noqa: TRY400 - no traceback
            return False
        self._started += 1
        return True

    def _run(self, channel: Any, waited: float) -> None:
        self._running += 1
        _again(channel, waited)
        self._threads.add_task(_Run(self, channel))

    def shutdown(self) -> None:
        """End the threads; one that hangs is left to the end of the process."""
        self._threads.shutdown()


class Dispatcher:
    """Runs complete requests after each turn of the loop, and sends the replies."""

    def __init__(self, poller: ConnectionPoller, settings: ServerSettings) -> None:
        self._poller = poller
        self._settings = settings
        self.together = Batch(lambda channel: channel.handle_close())
        """Requests that were begun in this turn."""
        self._queue: deque[Any] = deque()
        self._answered: list[Any] = []
        self._pools: dict[str, Pool] = {}
        self._done: deque[tuple[Pool, Any]] = deque()

    def add_task(self, channel: Any) -> None:
        """Queue a channel that has a complete request; waitress calls this, from a pool's thread when it pipelines."""
        self._queue.append(channel)

    def finish(self) -> None:
        """Answer what is queued, pipelined requests among it, and send the replies.

        Replies wait for each other a moment: the first one that is sent wakes its client, and sending the others
        costs less while that is being done.
        """
        while self._done:
            pool, channel = self._done.popleft()
            pool.finished()
            self._send(channel)
        for pool in self._pools.values():
            while old := pool.next_too_old():
                self._refuse(old[1], old[0])
        queue, answered, together = self._queue, self._answered, self.together
        deadline = 0.0
        while queue:
            channel = queue.popleft()
            if channel.awaits_reply:
                together.finish()  # replies to pipelined requests leave in their order
            try:
                channel.service()
            except HandOver as handed:
                self._hand_over(channel, handed.pool)
                continue
            answered.append(channel)
            now = time.perf_counter()
            if len(answered) == 1:
                deadline = now + _SEND_TOGETHER_SECONDS
            if together.enough or now > deadline:
                self._send_answered()
        self._send_answered()

    def _hand_over(self, channel: Any, name: str) -> None:
        pool = self._pools.get(name)
        if pool is None:
            pool = self._pools[name] = Pool(self._settings, self._done)
        if pool.add(channel):
            self._poller.refresh(channel)  # nothing is read from it meanwhile
        else:
            self._refuse(channel, float("inf"))

    def _refuse(self, channel: Any, waited: float) -> None:
        """Run a request here all the same: the application refuses what has waited too long."""
        _again(channel, waited)
        channel.service()
        self._send(channel)

    def _send_answered(self) -> None:
        self.together.finish()
        for channel in self._answered:
            self._send(channel)
        self._answered.clear()

    def _send(self, channel: Any) -> None:
        if channel.connected and channel.writable():
            channel.handle_write()
        self._poller.refresh(channel)

    def shutdown(self) -> None:
        """End the pools."""
        for pool in self._pools.values():
            pool.shutdown()


def _again(channel: Any, waited: float) -> None:
    """Prepare a request for its second run. The note stands on the request, because its channel may have another."""
    request = channel.requests[0]
    request.queued_seconds = waited
    request.get_body_stream().seek(0)
