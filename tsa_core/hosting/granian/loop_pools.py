"""Thread pools beside granian's event loop, as waitress has them (http/thread_pools.py).

A request that would wait, for the backend of its profile's signer or in the page of a plugin, leaves the loop, and a
thread of that profile's or plugin's pool runs it again. So each delays its own requests only.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tsa_core.config import ServerSettings
from tsa_core.hosting.granian.wsgi_reply import WsgiReply
from tsa_core.http.batching import BATCH
from tsa_core.http.thread_pools import ENTER, QUEUED_SECONDS, wait_here
from tsa_core.http.wsgi_types import WsgiApplication

_FULL = float("inf")


class _LoopPool:
    """The threads and the queue of one profile or plugin."""

    def __init__(self, settings: ServerSettings) -> None:
        self._executor = ThreadPoolExecutor(settings.threads, thread_name_prefix="granian")
        self._threads = settings.threads
        self._limit = settings.threads + settings.queue_limit
        self._queue_seconds = settings.queue_timeout.total_seconds()
        self._pending = 0

    async def run(self, app: WsgiApplication, environ: dict[str, Any]) -> WsgiReply:
        """Return the reply to a request that has left the loop; the application refuses it when it waits too long."""
        environ.pop(BATCH, None)
        environ[ENTER] = wait_here
        environ["wsgi.input"].seek(0)
        if self._pending >= self._limit:
            return _refused(app, environ, _FULL)
        self._pending += 1
        try:
            return await self._run_in_thread(app, environ)
        finally:
            self._pending -= 1

    async def _run_in_thread(self, app: WsgiApplication, environ: dict[str, Any]) -> WsgiReply:
        began = time.monotonic()

        def call() -> WsgiReply:
            reply = WsgiReply()
            environ[QUEUED_SECONDS] = time.monotonic() - began
            reply.run(app, environ)
            return reply

        try:
            submitted = self._executor.submit(call)
        except RuntimeError:  # the system gives no more threads, or the server ends
            return _refused(app, environ, _FULL)
        reply = asyncio.wrap_future(submitted)
        if self._pending > self._threads:
            await asyncio.wait({reply}, timeout=self._queue_seconds)
            if not reply.done() and submitted.cancel():
                return _refused(app, environ, time.monotonic() - began)
        return await reply

    def shutdown(self) -> None:
        """End the threads, without waiting."""
        self._executor.shutdown(wait=False, cancel_futures=True)


class LoopPools:
    """A pool for each profile or plugin whose requests wait, made when it is first needed; for the event loop.

    Up to `[server] threads` threads each, and `queue_limit` requests that wait for one for `queue_timeout` at most.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._pools: dict[str, _LoopPool] = {}

    async def run(self, name: str, app: WsgiApplication, environ: dict[str, Any]) -> WsgiReply:
        """Return the reply to a request that has left the loop for the pool of that name."""
        pool = self._pools.get(name)
        if pool is None:
            pool = self._pools[name] = _LoopPool(self._settings)
        return await pool.run(app, environ)

    def shutdown(self) -> None:
        """End all threads, without waiting."""
        for pool in self._pools.values():
            pool.shutdown()


def _refused(app: WsgiApplication, environ: dict[str, Any], waited: float) -> WsgiReply:
    """Run a request in the loop: the application refuses it at once, because it has waited for so long."""
    environ[QUEUED_SECONDS] = waited
    reply = WsgiReply()
    reply.run(app, environ)
    return reply
