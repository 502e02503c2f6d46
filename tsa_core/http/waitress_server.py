"""waitress, set up for a public timestamp server.

waitress's parser, buffers and channels are used as they are. Three things are ours, and measured:

- When every signer answers in microseconds, requests run inline on the I/O thread: handing them to a thread and back
  costs several times what the request itself does. A signer that waits for a network gets waitress's threads.
- The loop that waits for sockets (event_loop.py): its cost does not grow with the number of idle connections.
- The drain at the end: waitress's own forgets replies that are finished but not yet sent.
- How long a request waited for a thread stands in its environ, so that one that waited too long can be refused at once:
  when a backend hangs, the queue ends as soon as a thread is free, instead of growing without bound.

Settings that differ from waitress's defaults: `send_bytes` above the size of any reply, because with the default of 1
the I/O thread spins while a worker thread holds the output lock; `connection_limit` above 100, because 100 idle clients
would be an outage; the queue's warning per waiting request is silenced.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer, UnixWSGIServer
from waitress.task import ThreadedTaskDispatcher

from tsa_core.config import ServerSettings
from tsa_core.http.event_loop import EventLoop
from tsa_core.http.open_files import connection_limit
from tsa_core.http.patience import Patience
from tsa_core.http.timestamp import QUEUED_SECONDS

log = logging.getLogger(__name__)

_SEND_BYTES = 262_144
_BODY_SLACK = 65_536
"""waitress refuses bodies beyond our own limit by this much unread; up to there, ours answers with JSON."""
_MAX_BODY = 2**31
_TURN_SECONDS = 1.0

_thread = threading.local()


class _InlineDispatcher:
    """Runs requests on the I/O thread, after each turn of the loop."""

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop
        self._queue: deque[Any] = deque()

    def add_task(self, channel: Any) -> None:
        """Queue a channel that has a complete request."""
        self._queue.append(channel)

    def finish(self) -> None:
        """Answer what is queued, pipelined requests among it, and send each reply at once."""
        while self._queue:
            channel = self._queue.popleft()
            channel.service()
            if channel.connected and channel.writable():
                channel.handle_write()
            self._loop.refresh(channel)

    def shutdown(self) -> None:
        """End; nothing runs outside the loop."""


class _ThreadDispatcher(ThreadedTaskDispatcher):  # type: ignore[misc] # waitress has no types
    """waitress's threads; tells the loop which channels they are done with."""

    def __init__(self, loop: EventLoop, threads: int) -> None:
        super().__init__()
        self._loop = loop
        self._done: deque[Any] = deque()
        self.set_thread_count(threads)

    def add_task(self, channel: Any) -> None:
        """Hand a channel that has a complete request to a thread."""
        super().add_task(_Tracked(channel, self._done))

    def finish(self) -> None:
        """Send the replies that threads have finished."""
        while self._done:
            self._loop.refresh(self._done.popleft())


class _Tracked:
    """A channel in waitress's queue, noted when its request has been answered."""

    def __init__(self, channel: Any, done: deque[Any]) -> None:
        self._channel = channel
        self._done = done
        self._queued_at = time.monotonic()

    def service(self) -> None:
        _thread.queued_seconds = time.monotonic() - self._queued_at
        try:
            self._channel.service()
        finally:
            self._done.append(self._channel)
            # waitress woke the loop before this note was made, so once more.
            self._channel.server.pull_trigger()

    def cancel(self) -> None:
        self._channel.cancel()


def _say_how_long_queued(app: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap an application whose requests run in threads."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        environ[QUEUED_SECONDS] = _thread.queued_seconds
        return app(environ, start_response)

    return application


class _InlineServer(TcpWSGIServer):  # type: ignore[misc] # waitress has no types
    """A waitress server whose requests run on the I/O thread, which therefore needs no waking."""

    def pull_trigger(self) -> None:
        pass


class _InlineUnixServer(UnixWSGIServer):  # type: ignore[misc] # waitress has no types
    """The same on a Unix socket."""

    def pull_trigger(self) -> None:
        pass


_KINDS: dict[tuple[bool, bool], Any] = {
    (True, False): _InlineServer,
    (True, True): _InlineUnixServer,
    (False, False): TcpWSGIServer,
    (False, True): UnixWSGIServer,
}
"""By whether requests run inline, and whether the socket is a Unix one."""


def _say_nothing_of_limits(record: logging.LogRecord) -> bool:
    """Drop what waitress says at each turn of a full server; `Patience` says it now and then."""
    return not str(record.msg).startswith("total open connections")


class WaitressServer:
    """Serves on listening sockets in `run` until `stop`, then drains and closes them.

    `inline` runs requests on the I/O thread. `turns` counts the turns of its loop.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        settings: ServerSettings,
        *,
        sockets: Sequence[socket.socket],
        inline: bool,
    ) -> None:
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        logging.getLogger("waitress").addFilter(_say_nothing_of_limits)
        self._loop = EventLoop(inline=inline)
        self._stopping = False
        self._ended = False
        self._ending = threading.RLock()  # a signal handler may interrupt the thread that holds it
        self._graceful_seconds = settings.graceful_timeout.total_seconds()
        idle_seconds = max(1, int(settings.idle_timeout.total_seconds()))
        limit = settings.max_request_body_size
        adjustments = Adjustments(
            threads=settings.threads,
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
        self._patience = Patience(settings)
        self._sweep_seconds = min(self._patience.sweep_seconds, idle_seconds)
        self._next_sweep = 0.0
        self._dispatcher: Any = (
            _InlineDispatcher(self._loop) if inline else _ThreadDispatcher(self._loop, settings.threads)
        )
        self._servers: list[Any] = [
            _KINDS[inline, each.family == socket.AF_UNIX](
                app if inline else _say_how_long_queued(app),
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
