"""Where a request runs: on the I/O thread, until it needs a signer that waits; then in a thread pool of its profile.

To read a request and choose its profile takes microseconds. The rest takes no longer when the key is in memory. A
request for a signer that waits for a backend stops at that point (LeaveIoThread), and a thread of the profile's pool
runs it again. So a slow backend delays its own profiles only. Other profiles, /ping and /healthz are answered as usual.

A pool starts up to `[server] threads` threads as they are needed. Its queue has a limit in length (`queue_limit`) and
in age (`queue_timeout`). A request beyond either is refused at once, with systemFailure and a text, even while the
backend hangs. Addresses take turns in it (FairQueue).
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import Any, NoReturn

from waitress.task import ThreadedTaskDispatcher

from tsa_core.authority import LeaveThread
from tsa_core.config import ServerSettings
from tsa_core.http.fair_queue import FairQueue

log = logging.getLogger(__name__)

ENTER = "tsa_core.enter"
"""In environ: called with a pool's name before a request waits for something."""

QUEUED_SECONDS = "tsa_core.queued_seconds"
"""In environ of a request that a pool runs: how long it stood in the queue; infinite when the queue was full."""

BEGINS_HERE = "tsa_core.begins_here"
"""In environ of a request that a pool runs: a guard waited before anything else was done, so its trace begins here."""

ROUTES_POOL = "routes "
"""Begins the names of the pools of plugins' routes; no profile's name has a space."""

_WARNING_PAUSE_SECONDS = 10.0
_LAST_SECONDS = 0.1
"""How long the end of the threads is waited for, when their requests have been answered or cut off."""


class LeaveIoThread(LeaveThread):
    """Ends a request's run on the I/O thread; the pool of that name runs it again."""

    def __init__(self, pool: str) -> None:
        super().__init__(pool)
        self.pool = pool


def leave_io_thread(pool: str) -> NoReturn:
    """Stop the request before it waits; `pool` is the name of a profile, or of something else that may wait."""
    raise LeaveIoThread(pool)


def wait_here(_pool: str) -> None:
    """Let the request go on: it runs in a thread that may wait."""


class _PoolTask:
    """One request in a thread of its pool."""

    def __init__(self, pool: Pool, channel: Any) -> None:
        self._pool = pool
        self._channel = channel

    def service(self) -> None:
        try:
            self._channel.service()
        finally:
            self._pool.done.append((self._pool, self._channel))
            # waitress woke the loop before this entry was there; the loop must look again.
            self._channel.server.pull_trigger()

    def cancel(self) -> None:
        self._channel.cancel()


class Pool:
    """The threads and the queue of one profile. All methods are for the I/O thread."""

    def __init__(self, settings: ServerSettings, done: deque[tuple[Pool, Any]]) -> None:
        self.done = done
        self._waiting = FairQueue()
        self._since: dict[Any, float] = {}
        """When each connection of the queue came into it, the oldest in front."""
        self._limit = settings.queue_limit
        self._queue_seconds = settings.queue_timeout.total_seconds()
        self._max_threads = settings.threads
        self._threads = ThreadedTaskDispatcher()
        self._started = 0
        self._running = 0
        self._next_warning = 0.0

    def add(self, channel: Any) -> bool:
        """Run a channel's request, or queue it; returns False when the queue is full, or no thread can be started."""
        if self._running < self._max_threads and self._has_thread():
            self._run(channel, 0.0)
        elif self._started and len(self._since) < self._limit:
            self._waiting.add(channel)
            self._since[channel] = time.monotonic()
        else:
            return False
        return True

    def finished(self) -> None:
        """Note that a request has been answered, and run the next one."""
        self._running -= 1
        if self._since:
            channel = self._waiting.take()
            self._run(channel, time.monotonic() - self._since.pop(channel))

    def pop_expired(self) -> tuple[float, Any] | None:
        """Remove a request that has waited too long; returns its seconds and channel, None when there is none."""
        if not self._since:
            return None
        channel, since = next(iter(self._since.items()))
        waited = time.monotonic() - since
        if waited <= self._queue_seconds:
            return None
        del self._since[channel]
        self._waiting.remove(channel)
        return waited, channel

    def _has_thread(self) -> bool:
        """Say whether a thread is free or can be started; the operating system may allow no more."""
        if self._running < self._started:
            return True
        try:
            self._threads.set_thread_count(self._started + 1)
        except RuntimeError as error:
            # waitress has noted the thread before it started it, and would wait for its end.
            self._threads.threads.discard(self._started)
            now = time.monotonic()
            if now >= self._next_warning:
                self._next_warning = now + _WARNING_PAUSE_SECONDS
                log.error("a profile has %d threads and can have no more: %s", self._started, error)  # noqa: TRY400 - no traceback
            return False
        self._started += 1
        return True

    def _run(self, channel: Any, waited: float) -> None:
        self._running += 1
        prepare_rerun(channel, waited)
        self._threads.add_task(_PoolTask(self, channel))

    def shutdown(self) -> None:
        """End the threads; one that hangs ends with the process."""
        self._threads.shutdown(timeout=_LAST_SECONDS)


def prepare_rerun(channel: Any, waited: float) -> None:
    """Prepare a request for its second run. The waiting time is stored on it, because its channel may have others."""
    request = channel.requests[0]
    request.queued_seconds = waited
    request.get_body_stream().seek(0)
