"""The listener that shows the metrics: GET /metrics, on an address of its own.

It is a thread in each process that answers requests, and a few more while there are clients. Several processes share
the listening socket and their counts, so any of them answers a scrape for all, also after one has died. The parent has
no such thread: the thread could hold a lock while a worker is forked, which the worker would never get.
"""

from __future__ import annotations

import errno
import logging
import selectors
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import REGISTRY, CollectorRegistry, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from tsa_core.api import cannot_listen
from tsa_core.config import MetricsSettings
from tsa_core.metrics.families import PREFIX
from tsa_core.metrics.shared_file import ROOM
from tsa_core.metrics.sharing import directory, forget_dead_processes

log = logging.getLogger(__name__)

PATH = "/metrics"
_SLOW_CLIENT_SECONDS = 10
MAX_THREADS = 8
"""Scrapes that are answered at once; twice as many threads may still be ending."""


class _Handler(WSGIRequestHandler):
    timeout = _SLOW_CLIENT_SECONDS
    server_version = "tsa-core"
    sys_version = ""
    server: _Server

    def parse_request(self) -> bool:
        """Parse the head; from now on the connection is not closed for another one's sake."""
        parsed = super().parse_request()
        if parsed:
            self.server.note_request(self.connection)
        return parsed

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Log nothing."""


class _Server(WSGIServer):
    """Answers each connection in a thread, of which there are MAX_THREADS at most.

    When one more client comes, the oldest connection that has not asked for anything yet is closed.
    """

    timeout = 0
    """`handle_request` does not wait: it is called when there is something."""

    def __init__(self, address: tuple[str, int], handler: type[_Handler]) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[socket.socket, None] = {}
        """Connections whose request has not come yet, the oldest first."""
        self._threads = 0
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Bind without the DNS query for this machine's name that the base class makes."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment] # of an internet socket
        self.setup_environ()
        self.socket.setblocking(False)  # another process may accept the connection first

    def serve_until_closed(self, other_end: socket.socket) -> None:
        """Answer until the other end of this socket is closed; nothing is done meanwhile while nobody comes."""
        with other_end, selectors.DefaultSelector() as selector:
            selector.register(self, selectors.EVENT_READ)
            selector.register(other_end, selectors.EVENT_READ)
            while all(key.fileobj is self for key, _ in selector.select()):
                self.handle_request()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection in a thread of its own; refuse it when all threads are busy."""
        with self._lock:
            full = self._threads >= MAX_THREADS
            oldest = next(iter(self._waiting), None)
            if full and oldest is not None:
                del self._waiting[oldest]
                with suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)  # its thread reads the end, and ends
            refused = full and (oldest is None or self._threads >= 2 * MAX_THREADS)
            if not refused:
                self._waiting[request] = None
                self._threads += 1
        if refused:
            self.shutdown_request(request)
            return
        thread = threading.Thread(target=self._answer, args=(request, client_address), name="scrape", daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            log.debug("a scrape of the metrics has no thread: %s", error)
            self._forget(request)
            self.shutdown_request(request)

    def _answer(self, request: socket.socket, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except Exception:  # noqa: BLE001 - as in socketserver: one client's failure is nobody else's
            self.handle_error(request, client_address)
        finally:
            self._forget(request)
            self.shutdown_request(request)

    def note_request(self, request: socket.socket) -> None:
        """Note that a connection has asked for something."""
        with self._lock:
            self._waiting.pop(request, None)

    def _forget(self, request: socket.socket) -> None:
        with self._lock:
            self._waiting.pop(request, None)
            self._threads -= 1

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        log.debug("a scrape of the metrics failed: %r", sys.exc_info()[1])


class _Server6(_Server):
    address_family = socket.AF_INET6


class MetricsListener:
    """Listens as soon as it is made, also for processes that are forked later; a context manager.

    Raises ConfigError when the address is not available.
    """

    def __init__(self, settings: MetricsSettings) -> None:
        self._before_scrape: Callable[[], None] = lambda: None
        self._thread: threading.Thread | None = None
        self._open: socket.socket
        try:
            family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
            kind = _Server6 if family == socket.AF_INET6 else _Server
            self._server = kind((settings.host, settings.port), _Handler)
        except OSError as error:
            hint = "; is another server running? " if error.errno == errno.EADDRINUSE else "; "
            raise cannot_listen(
                f"cannot listen on {settings.host}:{settings.port} for metrics: {error.strerror or error}{hint}choose "
                "another address with --metrics-host and --metrics-port, or leave metrics out with --metrics=false",
                error,
                path="metrics.port",
            ) from None
        self._server.set_app(self._answer)
        host, port = self._server.server_address[:2]
        self.url = f"http://[{host!s}]:{port}{PATH}" if kind is _Server6 else f"http://{host!s}:{port}{PATH}"

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("PATH_INFO", "").rstrip("/") != PATH:
            start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
            return [f"the metrics are at {PATH}\n".encode()]
        self._before_scrape()
        forget_dead_processes()
        answer: Iterable[bytes] = make_wsgi_app(_registry(), disable_compression=True)(environ, start_response)
        return answer

    def start(self, before_scrape: Callable[[], None]) -> None:
        """Answer scrapes in a thread, which calls `before_scrape` each time."""
        self._before_scrape = before_scrape
        self._open, other_end = socket.socketpair()
        self._thread = threading.Thread(
            target=self._server.serve_until_closed, args=(other_end,), name="metrics-listener", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening in this process; may be called more than once."""
        if self._thread is not None:
            self._open.shutdown(socket.SHUT_RDWR)  # a process that was forked meanwhile may have it open, too
            self._open.close()
            self._thread.join(5)
            self._thread = None
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _OfAllProcesses(Collector):
    """The metrics of all processes that share theirs, and whether these are all; else those of this process."""

    def describe(self) -> Iterable[Metric]:
        """Return nothing: a registry would collect everything to learn the names."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return the metrics."""
        shared = directory()
        if shared is not None and shared.is_dir():
            yield from MultiProcessCollector(None, str(shared)).collect()  # type: ignore[no-untyped-call] # as below
        else:
            yield from REGISTRY.collect()
        yield GaugeMetricFamily(
            f"{PREFIX}metrics_shared",
            "1 when the metrics are of all processes; 0 when one has no room for its",
            ROOM.enough,
        )


def _registry() -> CollectorRegistry:
    """Return the registry to show: of this process, or of all processes that share their metrics."""
    if directory() is None:
        return REGISTRY
    registry = CollectorRegistry()
    registry.register(_OfAllProcesses())
    return registry
