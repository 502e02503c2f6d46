"""The listeners of granian, embedded in each process that answers requests: TLS and HTTP, or plain HTTP.

waitress has no TLS. The listeners run in a thread with an event loop of its own and call the same application, so
profiles, keys and clock are opened once (decisions 100 and 178).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from tsa_core.api import ConfigError
from tsa_core.config import ServerSettings
from tsa_core.hosting.granian.cpu_affinity import pin_to_one_cpu
from tsa_core.hosting.granian.event_loop import BoundedEventLoop
from tsa_core.hosting.granian.http2_limits import Http2Limits
from tsa_core.hosting.granian.idle_connections import IdleConnections
from tsa_core.hosting.granian.rsgi import RsgiApplication
from tsa_core.hosting.granian.thread_limits import ThreadLimits, threads_needed
from tsa_core.hosting.tls_files import check_tls_files
from tsa_core.http.wsgi_types import WsgiApplication

log = logging.getLogger(__name__)

_START_SECONDS = 30.0
_REPLIES_LEAVE_SECONDS = 0.05
"""A reply that granian has may not be in the kernel's buffer yet; this is long enough for that."""
_LAST_SECONDS = 5.0


def require_granian(*, reason: str) -> None:
    """Raise ConfigError with the line that installs granian, when it is missing."""
    try:
        import granian  # noqa: F401 - only whether it is installed
    except ImportError:
        raise ConfigError(f"{reason} needs granian, which is not installed: pip install 'tsa-core[granian]'") from None


class GranianListeners:
    """Serves an application on listening sockets from `start` until `stop`, over TLS on those in `tls`.

    A context manager. Requests are answered in the event loop, unless there are profiles whose signers wait: then
    threads answer them, and each such profile has a limit on threads. Without sockets it does nothing. `slot` counts
    the processes that serve the same sockets.
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
    ) -> None:
        self._settings = settings
        self._slot = slot
        self._tls = tls
        self._plain = plain
        self._executor = None
        if waiting_profiles:
            threads = threads_needed(settings, waiting_profiles)
            self._executor = ThreadPoolExecutor(threads, thread_name_prefix="granian")
            app = ThreadLimits(app, settings)
        self._app = RsgiApplication(
            app,
            max_body=settings.max_request_body_size,
            read_seconds=settings.read_timeout.total_seconds(),
            executor=self._executor,
            http2_limits=Http2Limits(settings, end=self._end) if settings.http2 else None,
        )
        self._connections = IdleConnections(settings, [*tls, *plain])
        self._servers: list[Any] = []
        self._tls_servers: list[Any] = []
        self._started = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop

    def start(self) -> None:
        """Begin to serve; raises ConfigError when granian is missing or the TLS files cannot be used."""
        if not (self._tls or self._plain):
            return
        require_granian(reason="this server")
        check_tls_files(self._settings)
        from tsa_core.hosting.granian.embedded import embedded_server

        self._tls_servers = [embedded_server(self._app, self._settings, each, tls=True) for each in self._tls]
        plain = [embedded_server(self._app, self._settings, each, tls=False) for each in self._plain]
        self._servers = [*self._tls_servers, *plain]
        self._thread = threading.Thread(target=self._run, name="granian", daemon=True)
        self._thread.start()
        self._started.wait(_START_SECONDS)

    def _run(self) -> None:
        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            tasks = [asyncio.create_task(server.serve()) for server in self._servers]
            watch = asyncio.create_task(self._watch())
            self._loop.call_soon(self._started.set)
            for done in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(done, BaseException):
                    log.error("a listener of granian failed: %s", done, exc_info=done)
            await self._drain()
            watch.cancel()

        if self._executor is None:
            pin_to_one_cpu(self._settings, self._slot)
        try:
            with asyncio.Runner(loop_factory=BoundedEventLoop if self._settings.http2 else None) as runner:
                runner.run(serve())
        finally:
            self._started.set()
            self._ended.set()

    async def _watch(self) -> None:
        """Close idle connections periodically."""
        while True:
            await asyncio.sleep(await asyncio.to_thread(self._connections.sweep))

    def _end(self, client: str) -> None:
        """Close the connection of a client, without waiting; called in the event loop."""
        self._loop.run_in_executor(None, self._connections.end_client, client)

    async def _drain(self) -> None:
        """Wait for the requests that have arrived; granian sends their replies when they are complete."""
        deadline = self._loop.time() + self._settings.graceful_timeout.total_seconds()
        while self._app.pending and self._loop.time() < deadline:
            await asyncio.sleep(0.02)
        if self._app.pending:
            log.warning("%d requests to granian were still in flight; they are cut off", self._app.pending)
        # granian's threads must have nothing to do when the interpreter ends, or they crash the process.
        deadline = self._loop.time() + _LAST_SECONDS
        await asyncio.sleep(_REPLIES_LEAVE_SECONDS)
        while await asyncio.to_thread(self._connections.end_all) and self._loop.time() < deadline:
            await asyncio.sleep(0.02)

    def reload_certificates(self) -> None:
        """Use the current contents of the TLS files for new connections; open ones keep the former.

        Raises ConfigError, and changes nothing, when the files cannot be used.
        """
        if not self._tls_servers or self._ended.is_set():
            return
        check_tls_files(self._settings)
        for server in self._tls_servers:
            self._loop.call_soon_threadsafe(server.reload)

    def accept_no_more(self) -> None:
        """Stop accepting connections, without waiting; safe in a signal handler."""
        if self._started.is_set() and not self._ended.is_set():
            for server in self._servers:
                self._loop.call_soon_threadsafe(server.stop)

    def stop(self) -> None:
        """Accept nothing more, answer what has arrived, and return."""
        if self._thread is None:
            return
        self.accept_no_more()
        self._thread.join(self._settings.graceful_timeout.total_seconds() + _START_SECONDS)
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
