"""The listeners of granian, embedded in each process that answers requests: TLS and HTTP, or plain HTTP.

waitress has no TLS. The listeners run in a thread with an event loop of its own and call the same application, so
profiles, keys and clock are opened once (decisions 100 and 178).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any, Self

from tsa_core.config import ServerSettings
from tsa_core.hosting.granian.connection_watch import ConnectionWatch
from tsa_core.hosting.granian.cpu_affinity import pin_to_one_cpu
from tsa_core.hosting.granian.event_loop import BoundedEventLoop, WakingEventLoop
from tsa_core.hosting.granian.http2_limits import Http2Limits
from tsa_core.hosting.granian.peers import Peers
from tsa_core.hosting.granian.route_threads import RouteThreads
from tsa_core.hosting.granian.rsgi import RsgiApplication
from tsa_core.hosting.granian.thread_limits import ThreadLimits, threads_needed
from tsa_core.hosting.heartbeat import BEAT_SECONDS, Heartbeat, Loop, NoHeartbeat
from tsa_core.hosting.tls_files import check_tls_files
from tsa_core.http.wsgi_types import WsgiApplication

log = logging.getLogger(__name__)

_START_SECONDS = 30.0
_REPLIES_LEAVE_SECONDS = 0.05
"""A reply that granian has may not be in the kernel's buffer yet; this is long enough for that."""
_LAST_SECONDS = 5.0


class _Group:
    """Listening sockets with the same limits: the application behind them, and the watch over their connections."""

    def __init__(
        self,
        app: WsgiApplication,
        settings: ServerSettings,
        sockets: Sequence[socket.socket],
        *,
        tls: bool,
        executor: Executor | None,
        route_threads: RouteThreads,
        end: Callable[[ConnectionWatch, str], None],
    ) -> None:
        limits = settings.over_tls() if tls else settings
        self.limits = limits
        self.sockets = sockets
        self.tls = tls
        self.servers: list[Any] = []
        peers = Peers()
        self.connections = ConnectionWatch(limits, sockets, peers)
        self.app = RsgiApplication(
            app,
            max_body=limits.max_request_body_size,
            read_seconds=limits.read_timeout.total_seconds(),
            executor=executor,
            route_threads=route_threads,
            peers=peers,
            http2_limits=Http2Limits(limits, end=partial(end, self.connections)) if limits.http2 else None,
        )

    async def watch(self) -> None:
        """Close connections that are idle, slow or too many, periodically."""
        while True:
            await asyncio.sleep(await asyncio.to_thread(self.connections.sweep))


class GranianListeners:
    """Serves an application on listening sockets from `start` until `stop`, over TLS on those in `tls`.

    A context manager. Requests are answered in the event loop, unless there are profiles whose signers wait: then
    threads answer them, and each such profile has a limit on threads. Plugins' paths always have threads. Without
    sockets it does nothing. `slot` counts the processes that serve the same sockets, and `heartbeat` is told that the
    event loop runs.
    """

    def __init__(
        self,
        app: WsgiApplication,
        settings: ServerSettings,
        *,
        tls: Sequence[socket.socket],
        plain: Sequence[socket.socket] = (),
        waiting_profiles: int,
        slot: int = 0,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        self.cut_off = 0
        """How many requests were not answered when `stop` returned."""
        self._settings = settings
        self._heartbeat = heartbeat or NoHeartbeat()
        self._slot = slot
        self._executor = None
        self._route_threads = RouteThreads(threads=settings.threads, queue_limit=settings.queue_limit)
        if waiting_profiles:
            threads = threads_needed(settings, waiting_profiles)
            self._executor = ThreadPoolExecutor(threads, thread_name_prefix="granian")
            app = ThreadLimits(app, settings)
        self._groups = [
            _Group(
                app,
                settings,
                sockets,
                tls=over_tls,
                executor=self._executor,
                route_threads=self._route_threads,
                end=self._end,
            )
            for sockets, over_tls in ((tls, True), (plain, False))
            if sockets
        ]
        self._started = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop

    def start(self) -> None:
        """Begin to serve; raises ConfigError when the TLS files cannot be used."""
        if not self._groups:
            return
        check_tls_files(self._settings)
        from tsa_core.hosting.granian.embedded import embedded_server

        for group in self._groups:
            group.servers = [embedded_server(group.app, group.limits, each, tls=group.tls) for each in group.sockets]
        self._thread = threading.Thread(target=self._run, name="granian", daemon=True)
        self._thread.start()
        self._started.wait(_START_SECONDS)

    def _run(self) -> None:
        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            tasks = [asyncio.create_task(server.serve()) for server in self._servers()]
            watches = [asyncio.create_task(group.watch()) for group in self._groups]
            watches.append(asyncio.create_task(self._beat()))
            self._loop.call_soon(self._started.set)
            for done in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(done, BaseException):
                    log.error("a listener of granian failed: %s", done, exc_info=done)
            await self._drain()
            for watch in watches:
                watch.cancel()

        if self._executor is None:
            pin_to_one_cpu(self._settings, self._slot)
        try:
            http2 = any(group.limits.http2 for group in self._groups)
            with asyncio.Runner(loop_factory=BoundedEventLoop if http2 else WakingEventLoop) as runner:
                runner.run(serve())
        finally:
            self._started.set()
            self._ended.set()

    async def _beat(self) -> None:
        while True:
            self._heartbeat.beat(Loop.GRANIAN)
            await asyncio.sleep(BEAT_SECONDS)

    def _end(self, connections: ConnectionWatch, client: str) -> None:
        """Close the connection of a client, without waiting; called in the event loop."""
        self._loop.run_in_executor(None, connections.end_client, client)

    def _servers(self) -> list[Any]:
        return [server for group in self._groups for server in group.servers]

    def _pending(self) -> int:
        """Count the requests that are not answered yet."""
        return sum(group.app.pending for group in self._groups)

    def _end_all(self) -> int:
        """Close every connection; returns how many there were."""
        return sum(group.connections.end_all() for group in self._groups)

    async def _drain(self) -> None:
        """Wait for the requests that have arrived; granian sends their replies when they are complete."""
        deadline = self._loop.time() + self._settings.graceful_timeout.total_seconds()
        while self._pending() and self._loop.time() < deadline:
            await asyncio.sleep(0.02)
        if pending := self._pending():
            self.cut_off = pending
            log.warning("%d requests to granian were still in flight; they are cut off", pending)
        # granian's threads must have nothing to do when the interpreter ends, or they crash the process.
        deadline = self._loop.time() + _LAST_SECONDS
        await asyncio.sleep(_REPLIES_LEAVE_SECONDS)
        while await asyncio.to_thread(self._end_all) and self._loop.time() < deadline:
            await asyncio.sleep(0.02)

    def reload_certificates(self) -> None:
        """Use the current contents of the TLS files for new connections; open ones keep the former.

        Raises ConfigError, and changes nothing, when the files cannot be used.
        """
        servers = [server for group in self._groups if group.tls for server in group.servers]
        if not servers or self._ended.is_set():
            return
        check_tls_files(self._settings)
        for server in servers:
            self._loop.call_soon_threadsafe(server.reload)

    def accept_no_more(self) -> None:
        """Stop accepting connections, without waiting; safe in a signal handler."""
        if self._started.is_set() and not self._ended.is_set():
            for server in self._servers():
                self._loop.call_soon_threadsafe(server.stop)

    def stop(self) -> None:
        """Accept nothing more, answer what has arrived, and return."""
        if self._thread is None:
            return
        self.accept_no_more()
        self._thread.join(self._settings.graceful_timeout.total_seconds() + _START_SECONDS)
        if self._thread.is_alive():
            self.cut_off = max(self.cut_off, self._pending())
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
        self._route_threads.shutdown()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
