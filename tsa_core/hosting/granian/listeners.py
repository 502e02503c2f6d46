"""The listeners of granian, embedded in each process that answers requests: TLS and HTTP, or plain HTTP.

waitress has no TLS. The listeners run in a thread with an event loop of its own and call the same application, so
profiles, keys and clock are opened once (decisions 100 and 178).
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import threading
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any, Self

from tsa_core.config import ServerSettings
from tsa_core.hosting.balance import Acceptor, Balances
from tsa_core.hosting.granian.connection_watch import ConnectionWatch
from tsa_core.hosting.granian.cpu_affinity import pin_to_one_cpu
from tsa_core.hosting.granian.event_loop import BoundedEventLoop, WakingEventLoop
from tsa_core.hosting.granian.http2_limits import Http2Limits
from tsa_core.hosting.granian.loop_pools import LoopPools
from tsa_core.hosting.granian.loop_work import LoopWork
from tsa_core.hosting.granian.peers import Peers
from tsa_core.hosting.granian.rsgi import RsgiApplication
from tsa_core.hosting.heartbeat import BEAT_SECONDS, Heartbeat, Loop, NoHeartbeat
from tsa_core.hosting.io_threads import IoThreads
from tsa_core.hosting.sockets import turn_away
from tsa_core.hosting.tls_files import check_tls_files
from tsa_core.http.wsgi_types import WsgiApplication

log = logging.getLogger(__name__)

_START_SECONDS = 30.0
_REPLIES_LEAVE_SECONDS = 0.05
"""A reply that granian has may not be in the kernel's buffer yet; this is long enough for that."""
_LAST_SECONDS = 0.5
"""How long the last replies may take to leave, once requests have been answered or cut off."""


class _Group:
    """Listening sockets with the same limits: the application behind them, and the watch over their connections."""

    def __init__(
        self,
        app: WsgiApplication,
        settings: ServerSettings,
        sockets: Sequence[socket.socket],
        *,
        tls: bool,
        work: LoopWork,
        pools: LoopPools,
        end: Callable[[ConnectionWatch, str], None],
        balances: Balances | None,
    ) -> None:
        limits = settings.over_tls() if tls else settings
        self.limits = limits
        self.sockets = sockets
        self.tls = tls
        self.servers: list[Any] = []
        acceptor = Acceptor.GRANIAN_TLS if tls else Acceptor.GRANIAN_PLAIN
        self.balance = balances(acceptor) if balances is not None else None
        peers = Peers(tls=tls)
        self.connections = ConnectionWatch(limits, sockets, peers)
        self.app = RsgiApplication(
            app,
            max_body=limits.max_request_body_size,
            read_seconds=limits.read_timeout.total_seconds(),
            work=work,
            pools=pools,
            peers=peers,
            http2_limits=Http2Limits(limits, end=partial(end, self.connections)) if limits.http2 else None,
        )

    async def watch(self) -> None:
        """Close connections that are idle, slow or too many, and share them with other workers, periodically."""
        while True:
            pause = await asyncio.to_thread(self.connections.sweep)
            if self.balance is not None:
                count = self.connections.count
                self.balance.publish(count)
                self.app.letting_go = self.balance.to_let_go(count)
            await asyncio.sleep(pause)


class GranianListeners:
    """Serves an application on listening sockets from `start` until `stop`, over TLS on those in `tls`.

    A context manager. Requests are answered in the event loop, unless there are profiles whose signers wait: then
    threads answer them, and each such profile has a limit on threads. Plugins' paths always have threads. Without
    sockets it does nothing. `slot` counts the processes that serve the same sockets, and `heartbeat` is told that the
    event loop runs. With `balances` the connections are shared among those processes.
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
        balances: Balances | None = None,
    ) -> None:
        self.cut_off = 0
        """How many requests were not answered when `stop` returned."""
        self.unseen = False
        """Whether, at the end, connections were open that cannot be seen, so that others may have begun to arrive."""
        self._cuts_off = False
        self._settings = settings
        self._heartbeat = heartbeat or NoHeartbeat()
        self._slot = slot
        self._work = LoopWork()
        self._pools = LoopPools(settings)
        self._waiting_profiles = waiting_profiles
        self._groups = [
            _Group(
                app,
                settings,
                sockets,
                tls=over_tls,
                work=self._work,
                pools=self._pools,
                end=self._end,
                balances=balances,
            )
            for sockets, over_tls in ((tls, True), (plain, False))
            if sockets
        ]
        self._started = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: WakingEventLoop
        self._stop_by = math.inf
        """When everything must have ended, by the monotonic clock."""

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
        """Look after the threads that run the event loop, until it ends."""
        if not self._waiting_profiles:
            pin_to_one_cpu(self._settings, self._slot)
        http2 = any(group.limits.http2 for group in self._groups)
        self._loop = BoundedEventLoop() if http2 else WakingEventLoop()
        serving = self._loop.create_task(self._serve())
        serving.add_done_callback(lambda _: self._loop.stop())
        threads = IoThreads(self._work, self._run_loop)
        try:
            if threads.run(lambda: self._stop_by):
                self._loop.end()
            else:
                self.cut_off = max(self.cut_off, self._pending())
                self._tell_why_it_goes_on()
        finally:
            self._started.set()
            self._ended.set()

    def _tell_why_it_goes_on(self) -> None:
        """Log why the loop has not ended in time: granian waits for requests that arrive, and the loop with it."""
        self.unseen = self._cuts_off and not all(group.connections.sees_all for group in self._groups)
        if self.unseen:
            log.warning(
                "connections to granian are still open that this system does not show (on a Unix socket, or not on "
                "Linux); whether requests have begun to arrive there is not known; they are cut off"
            )
        else:
            log.error("the loop that answers granian's requests hangs, and is given up")

    def _run_loop(self) -> None:
        """Run the event loop to its end, also from where another thread was when this one took over."""
        self._work.follow(self._loop)
        self._loop.go_on()

    async def _serve(self) -> None:
        tasks = [asyncio.create_task(server.serve()) for server in self._servers()]
        watches = [asyncio.create_task(group.watch()) for group in self._groups]
        watches.append(asyncio.create_task(self._beat()))
        self._loop.call_soon(self._started.set)
        for done in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(done, BaseException):
                log.error("a listener of granian failed: %s", done, exc_info=done)
        await self._drain()
        for left in asyncio.all_tasks() - {asyncio.current_task()}:
            left.cancel()
        await asyncio.sleep(0)

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
        deadline = self._stop_by - _LAST_SECONDS
        while self._pending() and monotonic() < deadline:
            await asyncio.sleep(0.02)
        # granian's threads must have nothing to do when the interpreter ends, or they crash the process.
        await asyncio.sleep(_REPLIES_LEAVE_SECONDS)
        while await asyncio.to_thread(self._end_all) and monotonic() < self._stop_by - _LAST_SECONDS / 2:
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
        graceful_seconds = self._settings.graceful_timeout.total_seconds()
        self._stop_by = min(self._stop_by, monotonic() + graceful_seconds + _LAST_SECONDS)
        if self._started.is_set() and not self._ended.is_set():
            self._loop.call_soon_threadsafe(self._end_listening)

    def _end_listening(self) -> None:
        """Let granian accept nothing more; with other processes on the sockets, they or their parent go on with them.

        granian keeps the sockets open until the last request has been answered.
        """
        for group in self._groups:
            for server, listening in zip(group.servers, group.sockets, strict=True):
                server.stop()
                if group.balance is None:
                    self._loop.add_reader(listening, turn_away, listening)
        self._loop.call_later(max(0.0, self._stop_by - _LAST_SECONDS - monotonic()), self._cut_off)

    def _cut_off(self) -> None:
        """Close the connections that are left: granian waits for the rest of a request that has begun to arrive."""
        self._cuts_off = True  # which a loop that hangs does not say
        if left := self._pending() + sum(group.connections.count_arriving() for group in self._groups):
            self.cut_off = left
            log.warning("%d requests to granian were still in flight; they are cut off", self.cut_off)
        self._loop.run_in_executor(None, self._end_all)

    def stop(self) -> None:
        """Accept nothing more, answer what has arrived, and return."""
        if self._thread is None:
            return
        self.accept_no_more()
        self._thread.join(max(0.0, self._stop_by - monotonic()) + _LAST_SECONDS / 2)
        if self._thread.is_alive():
            self.cut_off = max(self.cut_off, self._pending())
        self._pools.shutdown()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
