"""A relay in front of an HTTP server: it notes requests, and answers some of them itself, late, or not at all."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

_SECONDS = 60.0
_HEAD_OCTETS = 1024
_HOP = {"connection", "transfer-encoding", "keep-alive", "content-length", "expect", "date", "server"}


@dataclass(frozen=True)
class Relayed:
    """A request."""

    method: str
    path: str
    head: bytes
    """How its body begins."""

    @property
    def writes(self) -> bool:
        """Whether it stores something."""
        return self.method in {"PUT", "POST"}


Matches = Callable[[Relayed], bool]


def everything(_: Relayed) -> bool:
    """Match each request."""
    return True


@dataclass
class _Fault:
    """What becomes of requests that match, as often as `times` says."""

    matches: Matches
    times: int
    status: int = 0
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    forwards: bool = False
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event | None = None
    drips: bool = False


class QuietServer(ThreadingHTTPServer):
    """A server in threads that prints nothing when a client goes away."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Leave the connection."""


class HttpRelay:
    """Listens on 127.0.0.1; a context manager. Without faults it is as if it were not there."""

    def __init__(self, port: int) -> None:
        self.requests: list[Relayed] = []
        self._port = port
        self._lock = threading.Lock()
        self._faults: list[_Fault] = []
        relay = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = _SECONDS

            def log_message(self, *_: object) -> None:
                """Print nothing."""

            def do_GET(self) -> None:
                with suppress(OSError):
                    relay.pass_on(self)

            do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - the base class calls them so

        self._server = QuietServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.mend()
        self._server.shutdown()
        self._server.server_close()

    # -- faults -------------------------------------------------------------------------------------------------

    def answer(
        self, status: int, body: bytes = b"", *, matches: Matches = everything, times: int = 1 << 30, **headers: str
    ) -> None:
        """Answer requests in the server's place."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._add(_Fault(matches, times, status=status, body=body, headers=named))

    def lose_answers(self, *, matches: Matches = everything, times: int = 1) -> None:
        """Pass requests on, and close their connections without the server's answer."""
        self._add(_Fault(matches, times, forwards=True))

    def hold(self, *, matches: Matches = everything) -> threading.Event:
        """Keep the next request to itself until `mend`; return what is set when it has come."""
        return self._add(_Fault(matches, 1, released=threading.Event())).reached

    def drip(self, *, matches: Matches = everything) -> None:
        """Send answers an octet at a time, and never to the end."""
        self._add(_Fault(matches, 1 << 30, drips=True, released=threading.Event()))

    def _add(self, fault: _Fault) -> _Fault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def mend(self) -> None:
        """Let nothing go wrong any more; what was held back is dropped."""
        with self._lock:
            faults, self._faults = self._faults, []
        for fault in faults:
            if fault.released is not None:
                fault.released.set()

    # -- requests -----------------------------------------------------------------------------------------------

    def pass_on(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        request = Relayed(handler.command, handler.path, body[:_HEAD_OCTETS])
        with self._lock:
            self.requests.append(request)
            fault = next((each for each in self._faults if each.times and each.matches(request)), None)
            if fault is not None:
                fault.times -= 1
        if fault is None:
            self._reply(handler, *self._forward(handler, body))
            return
        fault.reached.set()
        if fault.status:
            self._reply(handler, fault.status, fault.headers, fault.body)
            return
        if fault.forwards:
            self._forward(handler, body)
        handler.close_connection = True
        if fault.released is None:
            return
        if fault.drips:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not fault.released.wait(0.1):
                handler.wfile.write(b"a")
        fault.released.wait(_SECONDS)

    def _forward(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes]:
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in _HOP}
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_SECONDS)
        try:
            connection.request(handler.command, handler.path, body or None, headers)
            reply = connection.getresponse()
            data = reply.read()
            return reply.status, {n: v for n, v in reply.getheaders() if n.lower() not in _HOP}, data
        finally:
            connection.close()

    @staticmethod
    def _reply(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if status != 204:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)
