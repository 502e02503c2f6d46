"""waitress, set up for a public timestamp server.

waitress's parser, buffers and channels are used as they are. Four things are ours, and measured:

- Requests run on the I/O thread, as long as no signer waits (pools.py): handing them to a thread and back costs several
  times what the request itself does.
- The loop that waits for sockets (event_loop.py): its cost does not grow with the number of idle connections.
- What waitress makes of a header block is remembered (waitress_request.py).
- The drain at the end: waitress's own forgets replies that are finished but not yet sent.

Settings that differ from waitress's defaults: `send_bytes` above the size of any reply, because with the default of 1
the I/O thread spins while a worker thread holds the output lock; `connection_limit` above 100, because 100 idle clients
would be an outage; the queue's warning per waiting request is silenced.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer, UnixWSGIServer

from tsa_core.config import ServerSettings
from tsa_core.hosting.open_files import connection_limit
from tsa_core.hosting.waitress.poller import Poller
from tsa_core.hosting.waitress.request import Channel
from tsa_core.hosting.waitress.timeouts import ConnectionTimeouts
from tsa_core.http.signer_pools import Dispatcher

log = logging.getLogger(__name__)

_SEND_BYTES = 262_144
_BODY_SLACK = 65_536
"""waitress refuses bodies beyond our own limit by this much unread; up to there, ours answers with JSON."""
_MAX_BODY = 2**31
_TURN_SECONDS = 1.0


class _OnIoThread:
    """A listening socket of waitress's, whose requests are begun on the I/O thread, which needs no waking then."""

    channel_class = Channel
    io_thread: int | None = None

    def pull_trigger(self) -> None:
        """Wake the loop, from a thread that is not the loop's."""
        if threading.get_ident() != self.io_thread:
            super().pull_trigger()  # type: ignore[misc] # waitress's server, which stands beside this class, has it


class _TcpServer(_OnIoThread, TcpWSGIServer):  # type: ignore[misc] # waitress has no types
    pass


class _UnixServer(_OnIoThread, UnixWSGIServer):  # type: ignore[misc] # waitress has no types
    pass


def _say_nothing_of_limits(record: logging.LogRecord) -> bool:
    """Drop what waitress says at each turn of a full server; `ConnectionTimeouts` says it now and then."""
    return not str(record.msg).startswith("total open connections")


class WaitressServer:
    """Serves on listening sockets in `run` until `stop`, then drains and closes them.

    `turns` counts the turns of its loop.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        settings: ServerSettings,
        *,
        sockets: Sequence[socket.socket],
    ) -> None:
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        logging.getLogger("waitress").addFilter(_say_nothing_of_limits)
        self._loop = Poller()
        self._stopping = False
        self._ended = False
        self._ending = threading.RLock()  # a signal handler may interrupt the thread that holds it
        self._graceful_seconds = settings.graceful_timeout.total_seconds()
        idle_seconds = max(1, int(settings.idle_timeout.total_seconds()))
        limit = settings.max_request_body_size
        adjustments = Adjustments(
            connection_limit=connection_limit(settings),
            channel_timeout=idle_seconds,
            cleanup_interval=min(30, idle_seconds),
            max_request_header_size=settings.max_header_size,
            max_request_body_size=limit + _BODY_SLACK if limit else _MAX_BODY,
            inbuf_overflow=_BODY_SLACK,  # the rest waits on disk, or slow clients would fill the memory
            # The core believes none of these; a plugin that does checks first who sent them (decision 031).
            clear_untrusted_proxy_headers=False,
            ident="tsa-core",
        )
        # As an argument it warns that it will go away; while it is there, its default makes the loop spin.
        adjustments.send_bytes = _SEND_BYTES
        self._patience = ConnectionTimeouts(settings)
        self._sweep_seconds = min(self._patience.sweep_seconds, idle_seconds)
        self._next_sweep = 0.0
        self._dispatcher = Dispatcher(self._loop, settings)
        self._servers: list[Any] = [
            (_UnixServer if each.family == socket.AF_UNIX else _TcpServer)(
                app,
                map=self._loop,
                dispatcher=self._dispatcher,
                adj=adjustments,
                _sock=each,
                bind_socket=False,
                sockinfo=(each.family, each.type, each.proto, each.getsockname()),
            )
            for each in sockets
        ]

    @property
    def turns(self) -> int:
        """How often the loop has turned."""
        return self._loop.turns

    def stop(self) -> None:
        """Ask `run` to end; safe in a signal handler and from other threads."""
        self._stopping = True
        # `run` may have ended already, or do so between two of these lines when another thread has called.
        with self._ending:
            if not self._ended:
                for server in self._servers:
                    server.trigger.pull_trigger()

    def run(self) -> None:
        """Serve until `stop`; then accept nothing more, finish what is in flight and return."""
        for server in self._servers:
            server.io_thread = threading.get_ident()
        try:
            while not self._stopping:
                self._turn(_TURN_SECONDS)
            self._drain()
        finally:
            self._close()

    def _turn(self, timeout: float) -> None:
        self._loop.turn(timeout)
        self._dispatcher.finish()
        for server in self._servers:
            if server.in_connection_overflow:
                self._loop.refresh(server)  # it may accept again once connections have ended
        now = time.monotonic()
        if now >= self._next_sweep:
            self._next_sweep = now + self._sweep_seconds
            # A server's `readable` also marks idle connections for closing and minds the connection limit.
            self._patience.sweep(self._channels())
            self._loop.refresh_all()
        if self._patience.nearly_full(len(self._loop)):
            self._patience.make_room(len(self._loop), self._channels())

    def _drain(self) -> None:
        for server in self._servers:
            server.accepting = False
            server.del_channel()
            server.socket.close()
        deadline = time.monotonic() + self._graceful_seconds
        while any(self._busy(channel) for channel in self._channels()):
            if time.monotonic() >= deadline:
                log.warning("requests were still in flight after %g s; they are cut off", self._graceful_seconds)
                break
            self._turn(0.05)

    def _channels(self) -> list[Any]:
        return [channel for server in self._servers for channel in server.active_channels.values()]

    @staticmethod
    def _busy(channel: Any) -> bool:
        """Say whether a request has begun to arrive, is being answered, or its reply is not sent yet."""
        return bool(channel.requests or channel.request is not None or channel.total_outbufs_len)

    def _close(self) -> None:
        with self._ending:
            self._ended = True  # from here on nobody wakes the loop, whose descriptors may soon be others'
        for channel in self._channels():
            channel.handle_close()
        self._dispatcher.shutdown()
        self._loop.close()
