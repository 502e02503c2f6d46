"""A WSGI application behind granian's asynchronous interface (RSGI), which can wait for a body without a thread.

With its WSGI interface a body that arrives slowly holds a thread, for as long as the client likes. Here the body is
complete before the application is called, within a limit in bytes and in seconds.
"""

from __future__ import annotations

import asyncio
import io
import logging
import sys
import time
from collections.abc import Coroutine
from concurrent.futures import Executor
from functools import partial
from typing import Any

from tsa_core.hosting.granian.http2_limits import Share, StreamShares, TooMuchAtOnce
from tsa_core.hosting.granian.wsgi_reply import WsgiReply
from tsa_core.http.batching import BATCH, Batch, BatchedRequest
from tsa_core.http.signer_pools import QUEUED_SECONDS
from tsa_core.http.wsgi_types import WsgiApplication

log = logging.getLogger(__name__)

_SILENT_HEADERS = frozenset({"content-type", "content-length"})
"""WSGI has names of their own for them."""
_MOST_EMPTY_PARTS = 3
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})


class _Reply(WsgiReply):
    """What the application answers, kept until its body is complete; `finished` when that is later."""

    __slots__ = ("finished",)

    finished: asyncio.Future[None]

    def answer(self, status: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self.start(status, headers)
        self.body = body
        if not self.finished.done():
            self.finished.set_result(None)

    def fail(self) -> None:
        if not self.finished.done():
            self.finished.set_exception(RuntimeError("the request could not be finished"))


class _Held:
    """What one request holds of its connection's share."""

    __slots__ = ("_share", "_streams", "octets")

    def __init__(self, streams: StreamShares, share: Share) -> None:
        self._streams = streams
        self._share = share
        self.octets = 0

    def add(self, octets: int) -> None:
        self.octets += octets
        self._streams.hold(self._share, octets)


class RsgiApplication:
    """Calls a WSGI application for each request; `pending` counts those that are not answered yet.

    `read_seconds` bounds the time for a body, 0 not at all; `max_body` its bytes, 0 not at all. With an executor
    requests run in its threads, else in the event loop itself, where those that have come are finished together.
    `streams` is needed where HTTP/2 is spoken.
    """

    def __init__(
        self,
        app: WsgiApplication,
        *,
        max_body: int,
        read_seconds: float,
        executor: Executor | None,
        streams: StreamShares | None = None,
    ) -> None:
        self._app = app
        self._max_body = max_body
        self._read_seconds = read_seconds or None
        self._executor = executor
        self._streams = streams
        self._together = Batch(_Reply.fail)
        self._will_finish = False
        self.pending = 0

    async def __call__(self, scope: Any, protocol: Any) -> None:
        """Answer one request."""
        if scope.proto != "http":
            return
        self.pending += 1
        try:
            if self._streams is None or scope.http_version != "2":
                await self._serve(scope, protocol, self._read(scope, protocol))
            else:
                await self._serve_stream(scope, protocol, self._streams)
        finally:
            self.pending -= 1

    async def _serve(self, scope: Any, protocol: Any, reading: Coroutine[Any, Any, bytes]) -> None:
        try:
            async with asyncio.timeout(self._read_seconds):
                body = await reading
        except TimeoutError:
            # The body that is still missing is why the connection, or the stream, ends with this.
            protocol.response_str(408, [("content-type", "text/plain")], "the request took too long to arrive")
            return
        except TooMuchAtOnce:
            protocol.response_str(429, [("content-type", "text/plain")], "too much at once on this connection")
            return
        except RuntimeError as error:  # granian's errors: the client went away, or sent chunks that are none
            log.debug("%s %s: the body cannot be read: %s", scope.method, scope.path, error)
            protocol.response_str(400, [("content-type", "text/plain")], "the request's body cannot be read")
            return
        await self._answer(scope, protocol, body)

    async def _serve_stream(self, scope: Any, protocol: Any, streams: StreamShares) -> None:
        share = streams.enter(scope.client or "")
        held = _Held(streams, share)
        try:
            if streams.admits(share):
                await self._serve(scope, protocol, self._read_stream(scope, protocol, held))
            else:
                protocol.response_str(503, [("content-type", "text/plain")], "too many requests are under way")
        finally:
            streams.leave(share, held.octets)

    async def _read(self, scope: Any, protocol: Any) -> bytes:
        """Read the body, one byte beyond the limit at most, which is enough for the application to refuse it."""
        headers = scope.headers
        declared = headers.get("content-length")
        if declared is None and "transfer-encoding" not in headers:
            return b""
        if not self._max_body:
            return bytes(await protocol())
        if declared is not None and declared.isdigit() and len(declared) < 19:
            # What announces too much is refused unread.
            return bytes(await protocol()) if int(declared) <= self._max_body else b""
        body = bytearray()
        async for part in protocol:
            body += part
            if len(body) > self._max_body:
                break
        return bytes(body[: self._max_body + 1])

    async def _read_stream(self, scope: Any, protocol: Any, held: _Held) -> bytes:
        """Read the body of an HTTP/2 request, which may have one without announcing it; its connection holds it."""
        headers = scope.headers
        held.add(sum(len(name) + len(value) for name, value in headers.items()))
        declared = headers.get("content-length")
        if declared is None and scope.method in _WITHOUT_BODY:
            # What has arrived with this request is counted before this one is answered.
            await asyncio.sleep(0)
            return b""
        if declared is not None and declared.isdigit() and len(declared) < 19:
            if self._max_body and int(declared) > self._max_body:
                return b""
            held.add(int(declared))
            read = bytes(await protocol())
            held.add(0)  # its connection may have been ended meanwhile
            return read
        body = bytearray()
        empty = 0
        async for part in protocol:
            # Of a stream that was cancelled granian says nothing, but gives empty parts without end.
            empty = 0 if part else empty + 1
            if empty > _MOST_EMPTY_PARTS:
                raise RuntimeError("the stream was cancelled")
            held.add(len(part))
            body += part
            if self._max_body and len(body) > self._max_body:
                break
        return bytes(body[: self._max_body + 1]) if self._max_body else bytes(body)

    async def _answer(self, scope: Any, protocol: Any, body: bytes) -> None:
        environ = _environ(scope, body)
        try:
            reply = _Reply()
            if self._executor is None:
                environ[BATCH] = partial(self._later, reply)
                if not reply.collect(self._app, environ):
                    await reply.finished
            else:
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._executor, self._call, environ, reply, time.monotonic())
        except Exception:
            log.exception("%s %s failed", scope.method, scope.path)
            protocol.response_str(500, [("content-type", "text/plain")], "the server failed to answer")
            return
        protocol.response_bytes(reply.status, reply.headers, reply.body)

    def _call(self, environ: dict[str, Any], reply: _Reply, queued_at: float) -> None:
        environ[QUEUED_SECONDS] = time.monotonic() - queued_at
        reply.collect(self._app, environ)

    def _later(self, reply: _Reply, begun: BatchedRequest) -> None:
        """Finish a request with those that the event loop begins in this turn."""
        loop = asyncio.get_running_loop()
        reply.finished = loop.create_future()
        begun.connection = reply
        begun.answer = reply.answer
        self._together.add(begun)
        if self._together.enough:
            self._together.finish()
        elif not self._will_finish:
            self._will_finish = True
            loop.call_soon(self._finish)

    def _finish(self) -> None:
        self._will_finish = False
        self._together.finish()


def _environ(scope: Any, body: bytes) -> dict[str, Any]:
    """Return the WSGI environ of a request (PEP 3333)."""
    headers = scope.headers
    host, _, port = (scope.server or "").rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode("utf-8", "replace").decode("latin-1"),  # as PEP 3333 has it
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": host.strip("[]"),
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": (scope.client or "").rpartition(":")[0].strip("[]"),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in headers.items():
        # A name with an underscore would imitate the header with a hyphen (decision 031).
        if name in _SILENT_HEADERS or "_" in name:
            continue
        key = "HTTP_" + name.upper().replace("-", "_")
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    if "HTTP_HOST" not in environ and scope.authority:
        environ["HTTP_HOST"] = scope.authority  # what HTTP/2 has in its place
    if (content_type := headers.get("content-type")) is not None:
        environ["CONTENT_TYPE"] = content_type
    if (length := headers.get("content-length")) is not None:
        environ["CONTENT_LENGTH"] = length
    return environ
