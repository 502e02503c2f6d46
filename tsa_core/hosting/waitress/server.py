"""waitress, set up for a public timestamp server.

waitress's parser, buffers and channels are used as they are. Four things are replaced, each after measurements:

- Requests run on the I/O thread, as long as no signer waits (tsa_core.http.thread_pools): to pass a request to another
  thread and back costs several times what the request itself costs.
- The loop that waits for sockets (poller.py): its cost does not grow with the number of idle connections.
- The parse result of a header block is cached (request.py).
- The shutdown: waitress's own drops replies that are complete but not sent.

Settings that differ from waitress's defaults: `send_bytes` is above the size of any reply, because with the default of
1 the I/O thread spins while a worker thread holds the output lock. `connection_limit` is above 100, because else 100
idle clients would be an outage. The warning that waitress logs for each queued request is off.
"""

from __future__ import annotations

import copy
import logging
import math
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer, UnixWSGIServer

from tsa_core.config import ServerSettings
from tsa_core.hosting.balance import ACCEPTED_AT_ONCE, Balance
from tsa_core.hosting.heartbeat import BEAT_SECONDS, Heartbeat, Loop, NoHeartbeat
from tsa_core.hosting.io_threads import IoThreads
from tsa_core.hosting.open_files import connection_limit
from tsa_core.hosting.tls_files import check_tls_files
from tsa_core.hosting.waitress.channel import Channel
from tsa_core.hosting.waitress.poller import Poller
from tsa_core.hosting.waitress.slots import Slots
from tsa_core.hosting.waitress.timeouts import ConnectionTimeouts
from tsa_core.hosting.waitress.tls import open_channel, tls_context
from tsa_core.http.dispatching import Dispatcher, Overtaken
from tsa_core.http.thread_pools import is_pool_thread
from tsa_core.http.wsgi_types import UNIX_PEER
from tsa_core.service import LiveService
from tsa_core.service.live import Generation

log = logging.getLogger(__name__)

_SEND_BYTES = 262_144
_NEVER = 2**62
"""Beyond every body: those have limits of our own, and go to no disk."""


_LAST_SECONDS = 0.5
"""How long the loop may take to end when it was told to."""


class _Unchanged:
    """An application that no reload changes."""

    def __init__(self, app: Callable[..., Any]) -> None:
        self.generation = Generation(app)


class _OnIoThread:
    """Mixed into waitress's servers: requests run on the I/O thread, which need not be woken from itself."""

    channel_class: Any = Channel
    io_thread: int | None = None
    wake: Callable[[], None]
    slots: Slots
    task_dispatcher: Dispatcher
    live: LiveService | _Unchanged
    _map: Any
    balance: Balance | None = None
    """What leaves connections to other workers; None without any."""

    def readable(self) -> bool:
        """Say whether to accept connections, after waitress has looked for idle ones to be closed."""
        wanted: bool = super().readable()  # type: ignore[misc] # as below
        return wanted and (self.balance is None or self.balance.deferral_seconds() <= 0)

    def handle_accept(self) -> None:
        """Accept the connections that wait, or as many as one turn of the loop may take."""
        balance, slots, connections = self.balance, self.slots, len(self._map)
        first = slots.added
        for _ in range(balance.room(connections) if balance is not None else ACCEPTED_AT_ONCE):
            before = slots.added
            super().handle_accept()  # type: ignore[misc] # as below
            if slots.added == before or not self.readable():
                break
        if balance is not None and slots.added > first:
            balance.accepted(connections, slots.added - first)

    def add_task(self, channel: Any) -> None:
        """Queue a request; one whose earlier replies the client does not read has to wait until it does."""
        if channel.total_outbufs_len >= _SEND_BYTES:
            channel.hold()
        else:
            self.task_dispatcher.add_task(channel)

    def pull_trigger(self) -> None:
        """Wake the loop, from a thread that is not the loop's and does not do so itself later."""
        if threading.get_ident() != self.io_thread and not is_pool_thread():
            self.wake()


class _TcpServer(_OnIoThread, TcpWSGIServer):  # type: ignore[misc] # waitress has no types
    def accept_connections(self) -> None:
        """Listen, with the options that connections inherit."""
        super().set_socket_options(self.socket)
        super().accept_connections()

    def set_socket_options(self, _connection: object) -> None:
        """Set nothing: a connection has the options of the socket that it was accepted from."""


class _TlsServer(_TcpServer):
    channel_class = staticmethod(open_channel)
    tls: ssl.SSLContext


class _UnixServer(_OnIoThread, UnixWSGIServer):  # type: ignore[misc] # waitress has no types
    def fix_addr(self, _address: object) -> tuple[str, None]:
        """Return the address of every client; waitress calls it localhost, as if it had come over TCP."""
        return UNIX_PEER, None


def _kind(listening: socket.socket) -> type[_OnIoThread]:
    return _UnixServer if listening.family == socket.AF_UNIX else _TcpServer


def _is_not_about_limits(record: logging.LogRecord) -> bool:
    """Filter out what waitress logs at each turn of a full server; `Slots` logs it less often."""
    return not str(record.msg).startswith("total open connections")


class WaitressServer:
    """Serves on listening sockets in `run` until `stop`, then drains and closes them; over TLS on those in `tls`.

    `turns` counts the turns of its loop, and `heartbeat` is told that it runs. With `balance` it leaves connections to
    other workers on the same sockets.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        settings: ServerSettings,
        *,
        sockets: Sequence[socket.socket],
        tls: Sequence[socket.socket] = (),
        heartbeat: Heartbeat | None = None,
        balance: Balance | None = None,
    ) -> None:
        settings = settings if sockets else settings.over_tls()
        self._settings = settings
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        logging.getLogger("waitress").addFilter(_is_not_about_limits)
        self._heartbeat = heartbeat or NoHeartbeat()
        self._next_beat = 0.0
        self._balance = balance
        self._loop = Poller()
        self._stopping = False
        self._woken = False
        self._ended = False
        self._ending = threading.RLock()  # a signal handler may interrupt the thread that holds it
        self._graceful_seconds = settings.graceful_timeout.total_seconds()
        idle_seconds = max(1, int(settings.idle_timeout.total_seconds()))
        adjustments = Adjustments(
            connection_limit=connection_limit(settings),
            channel_timeout=idle_seconds,
            cleanup_interval=min(30, idle_seconds),
            max_request_header_size=settings.max_header_size,
            max_request_body_size=_NEVER,
            inbuf_overflow=_NEVER,
            outbuf_overflow=_NEVER,
            # The core uses no such header. A plugin that does must check the peer first (decision 031).
            clear_untrusted_proxy_headers=False,
            ident="tsa-core",
        )
        # As an argument it causes a deprecation warning; as long as waitress has it, its default makes the loop spin.
        adjustments.send_bytes = _SEND_BYTES
        adjustments.max_body = settings.max_request_body_size or math.inf
        self._timeouts = ConnectionTimeouts(settings)
        self._slots = Slots(settings)
        self._sweep_seconds = min(self._timeouts.sweep_seconds, idle_seconds)
        self._next_sweep = 0.0
        self._dispatcher = Dispatcher(self._loop, settings, self._wake)
        self._drain_until = math.inf
        self.cut_off = 0
        """How many connections had a request that was not answered when `run` returned."""
        over_tls = copy.copy(adjustments)
        over_tls.url_scheme = "https"
        context = tls_context(settings) if tls else None
        listening: list[tuple[Any, socket.socket]] = [(_kind(each), each) for each in sockets]
        listening += ((_TlsServer, each) for each in tls)
        live = app if isinstance(app, LiveService) else _Unchanged(app)
        self._servers: list[Any] = [
            kind(
                app,
                map=self._loop,
                dispatcher=self._dispatcher,
                adj=over_tls if kind is _TlsServer else adjustments,
                _sock=each,
                bind_socket=False,
                sockinfo=(each.family, each.type, each.proto, each.getsockname()),
            )
            for kind, each in listening
        ]
        for server in self._servers:
            server.slots = self._slots
            server.wake = self._wake
            server.live = live
            server.balance = balance
            server.tls = context

    @property
    def turns(self) -> int:
        """How often the loop has turned."""
        return self._loop.turns

    def reload_certificates(self) -> None:
        """Use the current contents of the TLS files for new connections; open ones keep the former.

        Raises ConfigError, and changes nothing, when the files cannot be used.
        """
        servers = [server for server in self._servers if server.tls is not None]
        if servers:
            check_tls_files(self._settings, by_granian=False)
            context = tls_context(self._settings)
            for server in servers:
                server.tls = context

    def stop(self) -> None:
        """Ask `run` to end; safe in a signal handler and from other threads."""
        if not self._stopping:
            self._drain_until = time.monotonic() + self._graceful_seconds
            self._stopping = True
        self._wake()

    def _wake(self) -> None:
        """Wake the loop, from any thread; once is enough until it has looked."""
        if self._woken:
            return
        # The loop may have ended already, or may end meanwhile when another thread calls this.
        with self._ending:
            if not self._ended:
                self._woken = True
                for server in self._servers[:1]:  # they share the loop; there is none where all sockets are granian's
                    server.trigger.pull_trigger()

    def run(self) -> None:
        """Serve until `stop`; then accept nothing more, finish what is in flight and return.

        A thread of its own runs the loop. This one looks whether that hangs, and is free for signals.
        """
        threads = IoThreads(self._dispatcher, self._serve)
        if not threads.run(lambda: self._drain_until + _LAST_SECONDS):
            self.cut_off = max(self.cut_off, self._count_busy())
            log.error("the loop that answers requests hangs, and is given up")

    def _serve(self) -> None:
        """Run the loop to its end, also from where another thread was when this one took over; raises Overtaken."""
        for server in self._servers:
            server.io_thread = threading.get_ident()
        try:
            self._dispatcher.run_queued()  # what the thread before had read
            while not self._stopping:
                pause = self._slots.pause_seconds(len(self._loop))
                if self._balance is not None:
                    pause = self._share(self._balance, pause)
                self._turn(pause)
            self._drain()
        except Overtaken:
            raise
        except BaseException:
            self._close()
            raise
        self._close()

    def _turn(self, timeout: float) -> None:
        self._loop.turn(0.0 if self._dispatcher.behind else timeout)
        self._woken = False  # before it looks what there is to do: who wakes it from now on does so again
        self._dispatcher.run_queued()
        now = time.monotonic()
        if now >= self._next_beat:
            self._next_beat = now + BEAT_SECONDS
            self._heartbeat.beat(Loop.WAITRESS)
            if self._balance is not None:
                self._slots.letting_go = self._balance.to_let_go(len(self._loop))
        if now >= self._next_sweep:
            self._next_sweep = now + self._sweep_seconds
            # A server's `readable` also marks idle connections for closing and applies the connection limit.
            self._timeouts.sweep(self._channels())
            self._loop.refresh_all()
        if self._slots.nearly_full(len(self._loop)):
            self._slots.make_room(len(self._loop), self._channels())
        for server in self._servers:
            if server.in_connection_overflow:
                self._loop.refresh(server)  # it may accept again once connections have ended

    def _share(self, balance: Balance, pause: float) -> float:
        """Publish how many connections there are, and end a deferral; returns how long the next turn may wait."""
        balance.publish(len(self._loop))
        if balance.resume():
            for server in self._servers:
                self._loop.refresh(server)
            return 0.0
        deferred = balance.deferral_seconds()
        return min(pause, deferred) if deferred > 0 else pause

    def _drain(self) -> None:
        self._turn(0.0)  # what has arrived by now is answered, also what the last turn did not see
        for server in self._servers:
            if server.accepting:
                server.accepting = False
                server.del_channel()
                server.socket.close()
        while busy := self._count_busy():
            if time.monotonic() >= self._drain_until:
                self.cut_off = busy
                log.warning("%d requests were in flight after %g s; they are cut off", busy, self._graceful_seconds)
                break
            self._turn(0.05)

    def _count_busy(self) -> int:
        return sum(self._busy(channel) for channel in self._channels())

    def _channels(self) -> list[Any]:
        return [channel for server in self._servers for channel in server.active_channels.values()]

    @staticmethod
    def _busy(channel: Any) -> bool:
        """Say whether a request has partly arrived, is being answered, or has a reply that is not sent yet."""
        unsent = channel.reply or channel.total_outbufs_len
        return bool(channel.requests or channel.request is not None or channel.awaits_reply or unsent)

    def _close(self) -> None:
        with self._ending:
            self._ended = True  # `stop` must not wake the loop any more: its descriptors may soon be reused
        for channel in self._channels():
            channel.handle_close()
        self._dispatcher.shutdown()
        self._loop.close()
