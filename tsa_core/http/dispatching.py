"""Runs complete requests on the I/O thread, and notices when that thread waits in the application.

The I/O thread marks what it runs of the application, and of plugins, as a section. Whoever empties the section has
taken over the thread's role: the thread, once it returns, touches nothing of the loop any more, hands over what it has
done, and ends (Overtaken). So a disk that hangs costs a thread, and not the server. To mark a section costs 0.1 us.

A turn of the loop answers a bounded number of requests, for a bounded time. What is left over waits in a FairQueue.
Nothing is read from its connections meanwhile, but other connections are accepted and read. So a client that pipelines,
and an address with many connections, get no more than their turns (decision 227).
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from tsa_core.config import ServerSettings
from tsa_core.http.batching import Batch, BatchedRequest
from tsa_core.http.fair_queue import FairQueue
from tsa_core.http.preparing import ReadyRequest
from tsa_core.http.thread_pools import LeaveIoThread, Pool, prepare_rerun

log = logging.getLogger(__name__)

_SEND_DELAY_SECONDS = 0.001
_TURN_SIZE = 64
"""Requests that one turn of the loop answers, at most."""
_CROWDED_TURN_SIZE = 16
"""The same while others wait: who comes now is read after these."""
_TURN_SECONDS = 0.004
"""A turn ends after this, when a batch has been answered: with a slow key few requests fill it."""


class Overtaken(BaseException):
    """Ends the loop in a thread whose role another one has taken over."""


class ConnectionPoller(Protocol):
    """Waits for events on connections; the server that runs the application provides it."""

    def refresh(self, channel: Any) -> None:
        """Ask a connection again whether it waits to be read or written."""

    def go_on(self, channel: Any) -> None:
        """Do what `refresh` does for a connection that has nothing to send and goes on."""


class Dispatcher:
    """Runs complete requests after each turn of the I/O loop, and sends the replies.

    `wake` wakes the loop from another thread. All methods are for the I/O thread, but for those that say otherwise.
    """

    def __init__(self, poller: ConnectionPoller, settings: ServerSettings, wake: Callable[[], None]) -> None:
        self._poller = poller
        self._settings = settings
        self._wake = wake
        self.batch: Batch[BatchedRequest] = Batch(_close_later)
        """The requests that this turn of the loop has read."""
        self._ready: Batch[ReadyRequest] = Batch(_close_later)
        """The requests that threads are free for, which sign them once they are prepared."""
        self.section: list[None] = []
        """Not empty while the I/O thread runs the application; a new list for each time."""
        self._queue: deque[Any] = deque()
        """Connections whose request this turn answers."""
        self._waiting = FairQueue()
        """Connections whose request a later turn answers."""
        self._answered: list[Any] = []
        self._pools: dict[str, Pool] = {}
        self._done: deque[tuple[Pool, Any]] = deque()
        self._late: deque[tuple[Any, str | None]] = deque()
        """Connections that other threads have answered, or with the pool that must go on with their request."""
        self._behind = False
        """Whether requests wait behind a batch in which a plugin hangs."""
        self._held: set[Any] = set()
        """Connections with a request that waits for the reply to an earlier one, which hangs."""

    def add_task(self, channel: Any) -> None:
        """Queue a channel with a complete request.

        waitress calls this, from another thread when the request was pipelined.
        """
        self._queue.append(channel)

    @property
    def behind(self) -> bool:
        """Whether requests wait that the last turn has not answered: the next turn should wait for nothing."""
        return bool(self._queue or self._waiting.lines)

    def run_queued(self) -> None:
        """Answer queued requests, as many as a turn may take, and send the replies; raises Overtaken.

        Replies are sent together: the first one wakes its client, and to send the others costs less meanwhile. Those
        that are complete are not held for more than a millisecond.
        """
        while self._late:
            late, pool_name = self._late.popleft()
            if pool_name is None:
                self._deliver(late)
                if late.awaits_reply:  # it is in the batch, which this turn answers
                    self._answered.append(late)
            else:
                self._run_in_pool(late, pool_name)
        while self._done:
            pool, channel = self._done.popleft()
            pool.finished()
            if channel.batched is None:
                self._send(channel)
            else:
                self._queue.append(channel)
        for pool in self._pools.values():
            while old := pool.pop_expired():
                self._refuse(old[1], old[0])
            pool.go_on()
        queue, batch = self._queue, self.batch
        if self._waiting.lines or len(queue) > _TURN_SIZE:
            self._take_turns()
        if queue:
            self._answer_queued()
        if self._answered or self._behind or batch.waiting:
            self._send_answered()
        if queue:
            self._leave_over()
        if self._ready.waiting:
            self._prepare()

    def _answer_queued(self) -> None:
        """Answer the requests that are queued now, and a few that were pipelined behind them, while there is time."""
        queue, batch = self._queue, self.batch
        deadline = 0.0
        turn_ends = time.perf_counter() + _TURN_SECONDS
        for _ in range(max(_CROWDED_TURN_SIZE, len(queue))):
            if not queue:
                return
            channel = queue.popleft()
            if channel.awaits_reply:
                # Replies to pipelined requests are sent in the order of the requests.
                self._process_batch(then=channel)
                if channel.awaits_reply:
                    self._held.add(channel)
                    continue
            leaves_for = self._serve(channel)
            if leaves_for is not None:
                self._run_in_pool(channel, leaves_for)
                continue
            self._answered.append(channel)
            now = time.perf_counter()
            if len(self._answered) == 1:
                deadline = now + _SEND_DELAY_SECONDS
            if batch.full or now > deadline:
                self._send_answered()
                if now > turn_ends:
                    return

    def _take_turns(self) -> None:
        """Queue the requests whose turn it is; those that have just come wait, too."""
        self._leave_over()
        waiting = self._waiting
        self._queue.extend([waiting.take() for _ in range(min(_CROWDED_TURN_SIZE, len(waiting)))])

    def _leave_over(self) -> None:
        """Let what is queued wait for its turn."""
        queue = self._queue
        for _ in range(len(queue)):
            channel = queue.popleft()
            self._waiting.add(channel)

    def take_over(self, section: list[None]) -> bool:
        """From another thread: take the role of the I/O thread if it is still in this section."""
        try:
            section.pop()
        except IndexError:
            return False
        return True

    def give_up(self) -> None:
        """From another thread: refuse the requests of a batch in which a plugin hangs, and those behind it.

        Those whose signer hangs in a thread of a pool, too.
        """
        for pool in list(self._pools.values()):
            pool.give_up()
        self._ready.give_up()
        if refused := self.batch.give_up():
            self._late.extend((each.connection, None) for each in refused)
            self._wake()

    def _serve(self, channel: Any) -> str | None:
        """Run a request, and return the name of the pool that has to run it again, if one has to."""
        pool = None
        self.section = section = [None]
        try:
            channel.service()
        except LeaveIoThread as leaving:
            pool = leaving.pool
            channel.batched = leaving.request
        except BaseException:
            log.exception("a request could not be answered; its connection is closed")
            _close_later(channel)
        try:
            section.pop()
        except IndexError:
            self._late.append((channel, pool))
            self._wake()
            raise Overtaken from None
        return pool

    def _process_batch(self, then: Any = None) -> Sequence[BatchedRequest]:
        """Answer the batch, and return its requests, which are not sent yet. `then` is the connection to serve next."""
        self.section = section = [None]
        done = self.batch.process()
        try:
            section.pop()
        except IndexError:
            self._late.extend((each.connection, None) for each in done)
            if then is not None:
                self._queue.append(then)
            self._wake()
            raise Overtaken from None
        return done

    def _run_in_pool(self, channel: Any, name: str) -> None:
        pool = self._pools.get(name)
        if pool is None:
            pool = self._pools[name] = Pool(self._settings, self._done, self._ready)
        if not pool.add(channel):
            self._refuse(channel, float("inf"))
        elif channel.batched is None:
            self._poller.refresh(channel)  # its thread may write to it, and nothing is read from it until then

    def _refuse(self, channel: Any, waited: float) -> None:
        """Run a request on the I/O thread: the application refuses it, because it has waited too long."""
        if channel.batched is not None:
            channel.batched.responder.refuse_waiting(channel.batched, waited)
            self._queue.append(channel)
            return
        prepare_rerun(channel, waited)
        self._serve(channel)
        self._send(channel)

    def _prepare(self) -> None:
        """Prepare the requests that threads are free for, and pass them on; raises Overtaken."""
        self.section = section = [None]
        self._ready.process()
        try:
            section.pop()
        except IndexError:
            self._wake()
            raise Overtaken from None

    def _send_answered(self) -> None:
        if self._ready.waiting:
            self._prepare()
        answered, self._answered = self._answered, []
        try:
            done = self._process_batch()
        except Overtaken:
            self._late.extend((channel, None) for channel in answered)
            self._wake()
            raise
        for channel in answered:
            self._send(channel)
        if self._behind:
            for each in done:
                self._deliver(each.connection)
        self._behind = bool(self.batch.waiting)

    def _deliver(self, channel: Any) -> None:
        """Send what another thread has answered, and go on with a request that waited for that."""
        self._send(channel)
        if channel in self._held and not channel.awaits_reply:
            self._held.discard(channel)
            self._queue.append(channel)

    def _send(self, channel: Any) -> None:
        if channel.reply and channel.send_reply():
            self._poller.go_on(channel)
            return
        if channel.connected and channel.writable():
            channel.handle_write()
        self._poller.refresh(channel)

    def shutdown(self) -> None:
        """End the pools; threads that are still at work end with the process."""
        for pool in self._pools.values():
            pool.shutdown()


def _close_later(channel: Any) -> None:
    """Let the I/O thread close a connection when it has sent what there is to send."""
    channel.awaits_reply = False
    channel.will_close = True
