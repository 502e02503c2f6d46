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
import threading
import time
from collections import deque
from queue import Empty, SimpleQueue
from typing import Any, NoReturn

from tsa_core.authority import LeaveThread
from tsa_core.authority.batch_guard import BatchGuard, BatchTaken
from tsa_core.config import ServerSettings
from tsa_core.http.batching import Batch, BatchedRequest
from tsa_core.http.fair_queue import FairQueue
from tsa_core.http.preparing import ReadyRequest

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

    def __init__(self, pool: str, request: BatchedRequest | None = None) -> None:
        super().__init__(pool)
        self.pool = pool
        self.request = request
        """What was read, when the pool has only to sign it: it is then answered on the I/O thread."""


def leave_io_thread(pool: str) -> NoReturn:
    """Stop the request before it waits; `pool` is the name of a profile, or of something else that may wait."""
    raise LeaveIoThread(pool)


def wait_here(_pool: str) -> None:
    """Let the request go on: it runs in a thread that may wait."""


class _Thread(threading.Thread):
    """A thread of a pool. `lost` is the end of one that hangs: another may take its place."""

    def __init__(self, threads: _Threads, number: int) -> None:
        super().__init__(name=f"waitress-{number}", daemon=True)
        self._threads = threads
        self._lock = threading.Lock()
        self.signing: tuple[Any, BatchGuard] | None = None
        """The channel whose request it signs, and who decides whether it does so in time."""

    def run(self) -> None:
        threads = self._threads
        ident = threading.get_ident()
        threads.idents.add(ident)
        while (channel := threads.channels.get()) is not None:
            try:
                if channel.batched is None:
                    channel.service()
                else:
                    self._sign(channel)
            except BatchTaken:
                threads.lost.discard(self)
                channel.server.wake()  # another thread may take its place, for a request that waits
                break
            except BaseException:
                log.exception("a request could not be answered")
            threads.finish(channel)
            del channel  # and with it the configuration that its request belongs to
        threads.idents.discard(ident)

    def _sign(self, channel: Any) -> None:
        guard = BatchGuard(self._lock)
        self.signing = channel, guard
        try:
            channel.batched.responder.sign(channel.batched, guard)
        finally:
            self.signing = None
            guard.end()


class _Threads:
    """Threads that answer the requests of channels, or sign them.

    waitress's own threads wait for a lock of Python's, which costs several times what a queue in C does.
    """

    idents: set[int] = set()  # noqa: RUF012 - of all pools of the process
    """Of the threads of all pools: they wake the loop themselves, once, when all is done."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.channels: SimpleQueue[Any] = SimpleQueue()
        self._threads: list[_Thread] = []
        self.lost: set[_Thread] = set()
        """Those that hang, and whose requests have been refused."""

    def __len__(self) -> int:
        return len(self._threads)

    def start(self) -> None:
        """Start one more; raises RuntimeError when the system allows no more."""
        new = _Thread(self, len(self._threads))
        new.start()
        self._threads.append(new)

    def answer(self, channel: Any) -> None:
        self.channels.put(channel)

    def finish(self, channel: Any) -> None:
        """Let the I/O thread go on with a request; from any thread."""
        self._pool.done.append((self._pool, channel))
        channel.server.wake()

    def give_up(self, now: float) -> None:
        """From another thread than the I/O thread: refuse the requests whose signer hangs, and leave their threads."""
        for thread in self._threads.copy():
            if (signing := thread.signing) is None:
                continue
            channel, guard = signing
            if not guard.is_overdue(now):
                continue
            self.lost.add(thread)  # before it is taken: from then on the thread takes itself off
            if not guard.take() or guard.hanging is None:
                self.lost.discard(thread)
                continue
            self._threads.remove(thread)
            try:
                channel.batched.responder.lose(channel.batched, guard.hanging)
            except Exception:
                log.exception("a request could not be refused")
            self.finish(channel)

    def shutdown(self, seconds: float) -> None:
        """Cancel what waits, and end the threads; one that hangs ends with the process."""
        try:
            while True:
                self.channels.get_nowait().cancel()
        except Empty:
            for _ in self._threads:
                self.channels.put(None)
        ends = time.monotonic() + seconds
        for each in self._threads:
            each.join(max(0.0, ends - time.monotonic()))


def is_pool_thread() -> bool:
    """Say whether the current thread is one of a pool, which wakes the loop when a request has been answered."""
    return threading.get_ident() in _Threads.idents


class Pool:
    """The threads and the queue of one profile. All methods are for the I/O thread.

    Requests that it signs come into `ready` when a thread is free, to be prepared and passed on, and what is done with
    into `done`.
    """

    def __init__(self, settings: ServerSettings, done: deque[tuple[Pool, Any]], ready: Batch[ReadyRequest]) -> None:
        self.done = done
        self._ready = ready
        self._waiting = FairQueue()
        self._since: dict[Any, float] = {}
        """When each connection of the queue came into it, the oldest in front."""
        self._limit = settings.queue_limit
        self._queue_seconds = settings.queue_timeout.total_seconds()
        self._max_threads = settings.threads
        self._threads = _Threads(self)
        self._running = 0
        self._next_warning = 0.0

    def add(self, channel: Any) -> bool:
        """Run a channel's request, or queue it; returns False when the queue is full, or no thread can be started."""
        if self._running < self._max_threads and self._has_thread():
            self._run(channel, 0.0)
        elif self._threads and len(self._since) < self._limit:
            self._waiting.add(channel)
            self._since[channel] = time.monotonic()
        else:
            return False
        return True

    def finished(self) -> None:
        """Note that a request has been answered, and run the next one."""
        self._running -= 1
        self.go_on()

    def go_on(self) -> None:
        """Run requests that wait, as far as there are threads; one that hung may have come back."""
        while self._since and self._running < self._max_threads and self._has_thread():
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
        if self._running < len(self._threads):
            return True
        if len(self._threads) + len(self._threads.lost) >= 2 * self._max_threads:
            return False
        try:
            self._threads.start()
        except RuntimeError as error:
            now = time.monotonic()
            if now >= self._next_warning:
                self._next_warning = now + _WARNING_PAUSE_SECONDS
                log.error("a profile has %d threads and can have no more: %s", len(self._threads), error)  # noqa: TRY400 - no traceback
            return False
        return True

    def give_up(self) -> None:
        """From another thread: refuse the requests whose signer hangs."""
        self._threads.give_up(time.monotonic())

    def _run(self, channel: Any, waited: float) -> None:
        self._running += 1
        if channel.batched is None:
            prepare_rerun(channel, waited)
            self._threads.answer(channel)
        else:
            self._ready.add(ReadyRequest(channel.batched.responder.preparer, channel, self._threads))

    def shutdown(self) -> None:
        """End the threads; one that hangs ends with the process."""
        self._threads.shutdown(_LAST_SECONDS)


def prepare_rerun(channel: Any, waited: float) -> None:
    """Prepare a request for its second run. The waiting time is stored on it, because its channel may have others."""
    request = channel.requests[0]
    request.queued_seconds = waited
    request.get_body_stream().seek(0)
