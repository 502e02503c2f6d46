"""waitress, set up for a public timestamp server.

waitress's parser, buffers and channels are used as they are. Two things are ours, and measured:

- When every signer answers in microseconds, requests run inline on the I/O thread: handing them to a thread and
  back costs three times what the request itself does. A signer that waits for a network gets waitress's threads.
- The loop that drains at the end: waitress's own forgets replies that are finished but not yet sent.

Settings that differ from waitress's defaults: `send_bytes` above the size of any reply, because with the default
of 1 the I/O thread spins while a worker holds the output lock; `connection_limit` above 100 and `poll` instead of
select, because 100 idle clients would be an outage; the queue's warning per waiting request is silenced.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

from tsa_core.api import ConfigError
from tsa_core.config import ServerSettings

log = logging.getLogger(__name__)

_SEND_BYTES = 262_144
_BODY_SLACK = 65_536
"""waitress refuses bodies beyond our own limit by this much unread; up to there, ours answers with JSON."""
_POLL_SECONDS = 1.0


class _InlineDispatcher:
    """Runs tasks on the I/O thread, after each turn of the loop."""

    def __init__(self) -> None:
        self._queue: deque[Any] = deque()

    def add_task(self, task: Any) -> None:
        """Queue a channel that has a complete request."""
        self._queue.append(task)

    def run_queued(self) -> None:
        """Serve what is queued, pipelined requests among it, and send each reply at once."""
        while self._queue:
            channel = self._queue.popleft()
            channel.service()
            if channel.connected and channel.writable():
                channel.handle_write()

    def shutdown(self) -> None:
        """Nothing runs outside the loop."""


class _InlineServer(TcpWSGIServer):  # type: ignore[misc] # waitress has no types
    """A waitress server whose requests run on the I/O thread, which therefore needs no waking."""

    def pull_trigger(self) -> None:
        pass


def _cannot_listen(settings: ServerSettings, reason: str) -> ConfigError:
    return ConfigError(
        f"cannot listen on {settings.host}:{settings.port}: {reason}; choose another address with --host and --port"
    )


class WaitressServer:
    """Listens at construction, serves in `run` until `stop`, then drains; ConfigError when it cannot listen.

    `inline` runs requests on the I/O thread. `addresses` are the URLs that it listens on.
    """

    def __init__(self, app: Callable[..., Any], settings: ServerSettings, *, inline: bool) -> None:
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        self._map: dict[int, Any] = {}
        self._inline = inline
        self._stopping = False
        self._graceful_seconds = settings.graceful_timeout.total_seconds()
        limit = settings.max_request_body_size
        adjustments = self._adjustments(settings, limit)
        self._dispatcher: Any = _InlineDispatcher()
        if not inline:
            self._dispatcher = ThreadedTaskDispatcher()
            self._dispatcher.set_thread_count(settings.threads)
        kind = _InlineServer if inline else TcpWSGIServer
        self._servers: list[Any] = []
        try:
            for socket_info in adjustments.listen:
                self._servers.append(
                    kind(app, map=self._map, dispatcher=self._dispatcher, adj=adjustments, sockinfo=socket_info)
                )
        except OSError as error:
            self._close()
            raise _cannot_listen(settings, error.strerror or str(error)) from None

    @staticmethod
    def _adjustments(settings: ServerSettings, limit: int) -> Any:
        try:
            adjustments = Adjustments(
                host=settings.host,
                port=settings.port,
                threads=settings.threads,
                connection_limit=settings.connection_limit,
                channel_timeout=max(1, int(settings.idle_timeout.total_seconds())),
                cleanup_interval=min(30, max(1, int(settings.idle_timeout.total_seconds()))),
                max_request_body_size=limit + _BODY_SLACK if limit else 2**31,
                asyncore_use_poll=True,
                clear_untrusted_proxy_headers=True,
                ident="tsa-core",
            )
        except ValueError as error:  # a host that no resolver knows
            raise _cannot_listen(settings, str(error).rstrip(".")) from None
        # As an argument it warns that it will go away; while it is there, its default makes the loop spin.
        adjustments.send_bytes = _SEND_BYTES
        return adjustments

    @property
    def addresses(self) -> list[str]:
        """The URLs at which it can be reached, with the ports that the system chose."""
        return [
            f"http://[{server.effective_host}]:{server.effective_port}"
            if ":" in server.effective_host
            else f"http://{server.effective_host}:{server.effective_port}"
            for server in self._servers
        ]

    def stop(self) -> None:
        """Ask `run` to end; safe in a signal handler and from other threads."""
        self._stopping = True
        for server in self._servers:
            server.trigger.pull_trigger()

    def run(self) -> None:
        """Serve until `stop`; then accept nothing more, finish what is in flight and return."""
        try:
            while not self._stopping:
                self._turn(_POLL_SECONDS)
            self._drain()
        finally:
            self._close()

    def _turn(self, timeout: float) -> None:
        wasyncore.poll2(timeout, self._map)
        if self._inline:
            self._dispatcher.run_queued()

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
        """Whether a request has begun to arrive, is being answered, or its reply is not sent yet."""
        return bool(channel.requests or channel.request is not None or channel.total_outbufs_len)

    def _close(self) -> None:
        for channel in self._channels():
            channel.handle_close()
        self._dispatcher.shutdown()
        wasyncore.close_all(self._map)
