"""Runs requests in granian's event loop, and notices when the loop's thread waits in the application.

A request's task reads it and leaves it here. A callback of the loop, which belongs to no task, runs the application for
all requests that were left, and answers them in batches. It marks what it runs as a section. Whoever empties the
section has taken over the thread's role, and runs the loop (hosting/io_threads.py). The thread, once it returns, passes
on what it has done, and ends.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

from tsa_core.hosting.granian.wsgi_reply import WsgiReply
from tsa_core.http.batching import BATCH, Batch, BatchedRequest
from tsa_core.http.dispatching import Overtaken
from tsa_core.http.thread_pools import ENTER, leave_io_thread
from tsa_core.http.wsgi_types import WsgiApplication


class _LeftLoop(Overtaken, SystemExit):
    """Ends an overtaken thread's run of the event loop, which swallows what a callback raises, but for SystemExit."""


class LoopReply(WsgiReply):
    """An application's reply. `finished`, a future of the loop, has a result once the reply is complete or failed."""

    __slots__ = ("complete", "finished")

    def __init__(self, finished: asyncio.Future[None]) -> None:
        super().__init__()
        self.finished = finished
        self.complete = False

    def answer(self, status: str, headers: list[tuple[str, str]], body: bytes) -> None:
        """Take the reply to a request of a batch; from any thread."""
        self.start(status, headers)
        self.body = body
        self.complete = True

    def fail(self) -> None:
        """Say that there will be no reply; from any thread."""
        self.failed = self.complete = True

    def finish(self) -> None:
        """In the loop: let the request's task go on, if the reply is complete."""
        if self.complete and not self.finished.done():
            self.finished.set_result(None)


class LoopWork:
    """What one event loop runs of the application. All methods are for the loop, but for those that say otherwise."""

    def __init__(self) -> None:
        self.section: list[None] = []
        self._loop: asyncio.AbstractEventLoop
        self._batch: Batch[BatchedRequest] = Batch(LoopReply.fail)
        self._waiting: deque[tuple[WsgiApplication, dict[str, Any], LoopReply]] = deque()
        self._scheduled = False

    def follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run requests in this loop; also called, before it goes on, by a thread that has taken over the role."""
        self._loop = loop
        self._scheduled = True
        loop.call_soon(self._run)

    async def run(self, app: WsgiApplication, environ: dict[str, Any]) -> LoopReply:
        """Return an application's reply to a request, or one that `failed`."""
        reply = LoopReply(self._loop.create_future())
        self._waiting.append((app, environ, reply))
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._run)
        await reply.finished
        return reply

    def take_over(self, section: list[None]) -> bool:
        """From another thread: take the role of the loop's thread if it is still in this section."""
        try:
            section.pop()
        except IndexError:
            return False
        return True

    def give_up(self) -> None:
        """From another thread: refuse the requests of a batch in which a plugin hangs, and those behind it."""
        if refused := self._batch.give_up():
            self._pass_on(each.connection for each in refused)

    def _run(self) -> None:
        self._scheduled = False
        waiting, batch = self._waiting, self._batch
        while waiting:
            app, environ, reply = waiting.popleft()
            environ[BATCH] = partial(_add_to_batch, batch, reply)
            environ[ENTER] = leave_io_thread
            self.section = section = [None]
            # Only set: when this thread is overtaken here, another one may have answered already.
            if reply.run(app, environ):
                reply.complete = True
            try:
                section.pop()
            except IndexError:
                self._leave([reply])
            if reply.complete:
                reply.finish()
            if batch.full:
                self._process()
        if batch.waiting:
            self._process()

    def _process(self) -> None:
        self.section = section = [None]
        done = self._batch.process()
        try:
            section.pop()
        except IndexError:
            self._leave([each.connection for each in done])
        for each in done:
            each.connection.finish()

    def _leave(self, replies: Iterable[LoopReply]) -> NoReturn:
        """In a thread that has lost its role: pass its replies on, and end."""
        self._pass_on(replies)
        raise _LeftLoop from None

    def _pass_on(self, replies: Iterable[LoopReply]) -> None:
        with suppress(RuntimeError):  # the loop is closed, and its requests have been cut off
            self._loop.call_soon_threadsafe(self._take_up, list(replies))

    def _take_up(self, replies: Iterable[LoopReply]) -> None:
        """Send what another thread has answered, and answer what it has put into the batch."""
        for reply in replies:
            reply.finish()
        self._run()


def _add_to_batch(batch: Batch[BatchedRequest], reply: LoopReply, request: BatchedRequest) -> None:
    if (pool := request.pool) is not None:
        leave_io_thread(pool)  # to be run again there
    request.connection = reply
    request.answer = reply.answer
    batch.add(request)
