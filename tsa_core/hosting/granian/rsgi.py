"""A WSGI application behind granian's asynchronous interface (RSGI), which waits for a body without a thread.

With granian's WSGI interface a body that arrives slowly holds a thread, without a time limit. Here the application is
called when the body is complete. A limit in bytes and one in seconds apply to the body.
"""

from __future__ import annotations

import asyncio
import io
import logging
import sys
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from tsa_core.hosting.granian.head import check_head
from tsa_core.hosting.granian.http2_limits import ConnectionLoad, Http2Limits, LimitExceeded
from tsa_core.hosting.granian.loop_pools import LoopPools
from tsa_core.hosting.granian.loop_work import LoopWork
from tsa_core.hosting.granian.peers import Peers
from tsa_core.hosting.granian.wsgi_reply import WsgiReply
from tsa_core.hosting.http_rules import max_chunks
from tsa_core.http.guarding import PASSED
from tsa_core.http.thread_pools import BEGINS_HERE, QUEUED_SECONDS
from tsa_core.http.wsgi_types import UNIX_PEER, WsgiApplication

log = logging.getLogger(__name__)

_HEADERS_WITHOUT_PREFIX = frozenset({"content-type", "content-length"})
"""Their names in environ do not begin with HTTP_ (PEP 3333)."""
_MAX_EMPTY_PARTS = 3
_CLOSE = ("connection", "close")
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})


class _Reservation:
    """The octets that one request holds, counted for its connection."""

    __slots__ = ("_limits", "_load", "octets")

    def __init__(self, limits: Http2Limits, load: ConnectionLoad) -> None:
        self._limits = limits
        self._load = load
        self.octets = 0

    def add(self, octets: int) -> None:
        self.octets += octets
        self._limits.reserve(self._load, octets)


class RsgiApplication:
    """Calls a WSGI application for each request; `pending` counts those that are not answered yet.

    `read_seconds` limits the time for a body, and `max_body` its bytes; 0 means no limit. Requests are
    `work` of the event loop, which runs them in batches; those that wait run in `pools`. HTTP/2 needs `http2_limits`.
    """

    def __init__(
        self,
        app: WsgiApplication,
        *,
        max_body: int,
        read_seconds: float,
        work: LoopWork,
        pools: LoopPools,
        http2_limits: Http2Limits | None = None,
        peers: Peers | None = None,
    ) -> None:
        self._app = app
        self._max_body = max_body
        self._read_seconds = read_seconds or None
        self._http2_limits = http2_limits
        self._peers = peers or Peers()
        self._work = work
        self._pools = pools
        self.pending = 0
        self.letting_go = 0
        """How many clients are to connect again, because another worker has fewer."""

    async def __call__(self, scope: Any, protocol: Any) -> None:
        """Answer one request."""
        if scope.proto != "http":
            return
        self.pending += 1
        try:
            environ = _environ(scope)
            if self._peers.tls:
                self._peers.note_request(environ["REMOTE_ADDR"], environ["REMOTE_PORT"])
            http2 = scope.http_version == "2"
            refusal = check_head(environ, http2=http2)
            if refusal is not None:
                refusal.send(protocol, http2=http2)
            elif (
                scope.method not in _WITHOUT_BODY
                and getattr(self._app, "checks_heads", False)
                and not await self._passes(environ, protocol, http2=http2)
            ):
                log.debug("%s %s was refused by its head", scope.method, scope.path)
            elif http2 and self._http2_limits is not None:
                self._peers.note_http2(environ["REMOTE_ADDR"], environ["REMOTE_PORT"])
                await self._serve_stream(scope, environ, protocol, self._http2_limits)
            else:
                await self._serve(environ, protocol, self._read(environ, protocol))
        except asyncio.CancelledError:
            log.debug("%s %s was cut off", scope.method, scope.path)
        finally:
            self.pending -= 1

    async def _serve(self, environ: dict[str, Any], protocol: Any, reading: Coroutine[Any, Any, bytes]) -> None:
        try:
            async with asyncio.timeout(self._read_seconds):
                body = await reading
        except TimeoutError:
            # granian closes the connection, or the stream, after this reply, because the body is incomplete.
            protocol.response_str(408, [("content-type", "text/plain")], "the request took too long to arrive")
            return
        except LimitExceeded:
            protocol.response_str(429, [("content-type", "text/plain")], "too much at once on this connection")
            return
        except RuntimeError as error:  # granian's errors: the client has disconnected, or sent invalid chunks
            log.debug("%s %s: the body cannot be read: %s", environ["REQUEST_METHOD"], environ["PATH_INFO"], error)
            protocol.response_str(400, [("content-type", "text/plain")], "the request's body cannot be read")
            return
        environ["wsgi.input"] = io.BytesIO(body)
        await self._answer(environ, protocol)

    async def _passes(self, environ: dict[str, Any], protocol: Any, *, http2: bool) -> bool:
        """Let guards see the head of a request whose body may not have come; a refusal is sent here."""
        environ["wsgi.input"] = io.BytesIO()
        reply: WsgiReply = await self._run(self._checked, environ)
        for name in (QUEUED_SECONDS, BEGINS_HERE):
            environ.pop(name, None)
        if PASSED in environ and not reply.failed:
            return True
        self._send(reply, protocol, [] if http2 else [_CLOSE])
        return False

    def _checked(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        refusal: Iterable[bytes] | None = self._app.check_head(environ, start_response)  # type: ignore[attr-defined] # the caller knows
        if refusal is None:
            environ.setdefault(PASSED, {})
        return refusal or ()

    async def _serve_stream(self, scope: Any, environ: dict[str, Any], protocol: Any, limits: Http2Limits) -> None:
        load = limits.add(scope.client or "")
        reservation = _Reservation(limits, load)
        try:
            if limits.admits(load):
                await self._serve(environ, protocol, self._read_stream(scope, protocol, reservation))
            else:
                protocol.response_str(503, [("content-type", "text/plain")], "too many requests are under way")
        finally:
            limits.remove(load, reservation.octets)

    async def _read(self, environ: dict[str, Any], protocol: Any) -> bytes:
        """Read the body, at most one byte beyond the limit: the application refuses such a body."""
        declared = environ.get("CONTENT_LENGTH")
        if declared is not None:
            # A body whose declared length is above the limit is refused unread.
            return bytes(await protocol()) if not self._max_body or int(declared) <= self._max_body else b""
        if "HTTP_TRANSFER_ENCODING" not in environ:
            return b""
        body = bytearray()
        parts = 0
        async for part in protocol:
            body += part
            parts += 1
            if self._max_body and len(body) > self._max_body:
                return bytes(body[: self._max_body + 1])
            if parts > max_chunks(len(body)):
                raise RuntimeError("it has too many small chunks")
        return bytes(body)

    async def _read_stream(self, scope: Any, protocol: Any, reservation: _Reservation) -> bytes:
        """Read the body of an HTTP/2 request, and count its octets for the connection.

        Without a Content-Length there may be a body all the same.
        """
        headers = scope.headers
        reservation.add(sum(len(name) + len(value) for name, value in headers.items()))
        declared = headers.get("content-length")
        if declared is None and scope.method in _WITHOUT_BODY:
            # Requests that arrived at the same time are counted before this one is answered.
            await asyncio.sleep(0)
            return b""
        if declared is not None:
            if self._max_body and int(declared) > self._max_body:
                return b""
            reservation.add(int(declared))
            read = bytes(await protocol())
            reservation.add(0)  # raises when the connection has been ended meanwhile
            return read
        body = bytearray()
        empty = parts = 0
        async for part in protocol:
            # granian does not report a cancelled stream; it gives empty parts without end.
            empty = 0 if part else empty + 1
            if empty > _MAX_EMPTY_PARTS:
                raise RuntimeError("the stream was cancelled")
            reservation.add(len(part))
            body += part
            parts += 1
            if parts > max_chunks(len(body)):
                raise RuntimeError("it has too many small parts")
            if self._max_body and len(body) > self._max_body:
                break
        return bytes(body[: self._max_body + 1]) if self._max_body else bytes(body)

    async def _answer(self, environ: dict[str, Any], protocol: Any) -> None:
        """Answer a request; the connection is closed after it when the request came in chunks.

        hyper hides a Content-Length beside Transfer-Encoding, so any such request may be one that another reader frames
        differently. What follows it is never read (RFC 9112 6.1; decision 200).
        """
        reply = await self._run(self._app, environ)
        closes = "HTTP_TRANSFER_ENCODING" in environ
        if self.letting_go and environ["SERVER_PROTOCOL"] == "HTTP/1.1":
            self.letting_go -= 1
            closes = True
        self._send(reply, protocol, [_CLOSE] if closes else [])

    async def _run(self, app: WsgiApplication, environ: dict[str, Any]) -> WsgiReply:
        reply: WsgiReply = await self._work.run(app, environ)
        if reply.leaves_for is not None:
            with self._peers.answering(environ["REMOTE_ADDR"], environ["REMOTE_PORT"]):
                reply = await self._pools.run(reply.leaves_for, app, environ)
        return reply

    @staticmethod
    def _send(reply: WsgiReply, protocol: Any, closing: list[tuple[str, str]]) -> None:
        if reply.failed:
            headers = [("content-type", "text/plain"), *closing]
            protocol.response_str(500, headers, "the server failed to answer")
        else:
            protocol.response_bytes(reply.status, [*reply.headers, *closing] if closing else reply.headers, reply.body)


def _environ(scope: Any) -> dict[str, Any]:
    """Return the WSGI environ of a request (PEP 3333), without its body."""
    headers = scope.headers
    host, _, port = (scope.server or "").rpartition(":")
    client, _, client_port = (scope.client or "").rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode("utf-8", "replace").decode("latin-1"),  # octets as latin-1 (PEP 3333)
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": host.strip("[]"),
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": client.strip("[]") or UNIX_PEER,
        "REMOTE_PORT": client_port,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in headers.items():
        # In environ, a name with an underscore looks like the header with a hyphen (decision 031).
        if name in _HEADERS_WITHOUT_PREFIX or "_" in name:
            continue
        key = "HTTP_" + name.upper().replace("-", "_")
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    if "HTTP_HOST" not in environ and scope.authority:
        environ["HTTP_HOST"] = scope.authority  # HTTP/2 has it in place of Host
    if (content_type := headers.get("content-type")) is not None:
        environ["CONTENT_TYPE"] = content_type
    if (length := headers.get("content-length")) is not None:
        environ["CONTENT_LENGTH"] = length
    return environ
