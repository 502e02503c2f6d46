"""waitress's parser and task, with rules for heads and bodies (head.py, body.py) and a cache of header blocks.

A client on a kept connection sends the same header block with every request. So waitress's parse result for a block,
and the environ made from it, are cached and copied. Requests of other kinds (chunked, HTTP/1.0, HEAD) are not cached:
waitress handles them. Measured for a granted request, P-256: saves 70 us of about 220.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from waitress.channel import ClientDisconnected
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import WSGITask, hop_by_hop
from waitress.utilities import build_http_date

from tsa_core.hosting.http_rules import MAX_LENGTH_DIGITS
from tsa_core.hosting.waitress.body import ChunkedBody, FixedBody, WholeBody
from tsa_core.hosting.waitress.head import check_fields, check_lines, too_long
from tsa_core.hosting.waitress.refusals import Refusal
from tsa_core.http.batching import BATCH, DEFERRED, BatchedRequest
from tsa_core.http.fast_path import REQUEST_ID, UsualHead
from tsa_core.http.guarding import PASSED
from tsa_core.http.thread_pools import ENTER, QUEUED_SECONDS, LeaveIoThread, leave_io_thread, wait_here
from tsa_core.service.live import Generation

_MAX_CACHED = 256
_LENGTH = 2**62
"""Stands for the length of a reply whose head is a format."""
_MAX_HEADER_OCTETS = 2048
_TLS = b"\x16"
"""How a TLS handshake begins, and no request line."""
BODY_SLACK = 65_536
"""A body that is announced as longer than the limit, by this at most, is read and dropped: so its client, which sends
it before it reads, gets the reply, and the connection is kept."""
_OF_ONE_REQUEST = frozenset(
    {"adj", "began", "headers", "header_plus", "header_bytes_received", "body_rcv", "passed", "waiting"}
)
_OF_ONE_CHANNEL = frozenset(
    {"REMOTE_ADDR", "REMOTE_HOST", "REMOTE_PORT", "wsgi.input", "waitress.client_disconnected", BATCH}
)


class _CachedHead:
    """What waitress made of one header block: the parser's attributes, and an environ for each listening socket."""

    __slots__ = ("attributes", "block", "content_length", "environs", "headers")

    def __init__(self, parser: Parser, block: bytes) -> None:
        self.block = block
        self.attributes = {name: value for name, value in vars(parser).items() if name not in _OF_ONE_REQUEST}
        self.headers = dict(parser.headers)
        self.content_length: int = parser.content_length
        self.environs: dict[Any, dict[str, Any]] = {}


class Parser(HTTPRequestParser):  # type: ignore[misc] # waitress has no types
    """waitress's parser, called once for each header block; for the I/O thread."""

    headers: dict[str, str]
    connection_close: bool
    completed: bool
    body_rcv: FixedBody | WholeBody | ChunkedBody | None
    error: Refusal | None
    cached: _CachedHead | None = None
    queued_seconds: float | None = None
    """How long the request has waited for a pool that runs it; None while it runs on the I/O thread."""
    passed: dict[str, Any] | None = None
    """What guards found out when the head had come; None while they have not been asked."""
    waiting: Parser | None = None
    """The request whose head alone this is, for the guards; its body has not come."""
    _cache: dict[bytes, _CachedHead] = {}  # noqa: RUF012 - one for the process: the result depends on the octets alone

    def __init__(self, adj: Any) -> None:
        super().__init__(adj)
        self.began = time.monotonic()
        """When the request began to arrive."""

    @property
    def empty(self) -> bool:
        """Whether waitress may forget this request; never."""
        return False

    @empty.setter
    def empty(self, _value: bool) -> None:
        """Refuse a head of blank lines alone: a client could keep its connection busy with them."""
        self.error = Refusal(HTTPStatus.BAD_REQUEST, "the head is empty")

    def received(self, data: bytes) -> int:
        """Take received octets and return how many of them belong to this request."""
        if data[:1] == _TLS and not (self.header_plus or self.headers_finished or self.completed):
            # No blank line ever ends such a head, so that client and server would wait for each other.
            self.error = Refusal(HTTPStatus.BAD_REQUEST, "this is TLS, and plain HTTP is spoken here")
            self.completed = self.connection_close = True
            return len(data)
        taken: int = super().received(data)
        return taken

    @classmethod
    def whole(cls, adj: Any, data: bytes) -> Parser | None:
        """Return the request that `data` is, no more and no less; None when it is not, or its header block is new.

        What this returns is what waitress makes of such octets in two calls and a few objects more.
        """
        end = data.find(b"\r\n\r\n") + 4
        cached = cls._cache.get(data[:end])
        if cached is None or len(data) - end != cached.content_length or cached.content_length > adj.max_body:
            return None
        request = cls(adj)
        request.cached = cached
        request.__dict__.update(cached.attributes)
        request.headers = cached.headers.copy()
        request.headers_finished = request.completed = True
        if cached.content_length:
            request.body_rcv = WholeBody(data[end:])
        return request

    def head_alone(self) -> Parser:
        """Return a request for the guards, which has no body."""
        head = copy.copy(self)
        head.waiting = self
        head.body_rcv = None
        head.completed = True
        head.expect_continue = False
        return head

    def parse_header(self, header_plus: bytes) -> None:
        """Set the attributes from the header block; `error` is the refusal of one that breaks a rule."""
        cached = self._cache.get(header_plus)
        if cached is None:
            self._parse_new(header_plus)
            plain = self.version == "1.1" and not (self.chunked or self.expect_continue)
            if plain and self.error is None and len(header_plus) <= _MAX_HEADER_OCTETS:
                if len(self._cache) >= _MAX_CACHED:
                    self._cache.clear()
                self.cached = self._cache[header_plus] = _CachedHead(self, header_plus)
        else:
            self.cached = cached
            self.__dict__.update(cached.attributes)
            self.headers = cached.headers.copy()
        if self.content_length > 0:
            self.body_rcv = FixedBody(self.content_length, self.adj.max_body)

    def _parse_new(self, header_plus: bytes) -> None:
        self.error = check_lines(header_plus)
        if self.error is None:
            try:
                super().parse_header(header_plus)
            except ParsingError as error:
                self.error = Refusal(HTTPStatus.BAD_REQUEST, str(error))
            except ValueError:  # Python reads no number of thousands of digits, nor some addresses
                digits = self.headers.get("CONTENT_LENGTH", "")
                self.error = (
                    too_long()
                    if len(digits) > MAX_LENGTH_DIGITS
                    else Refusal(HTTPStatus.BAD_REQUEST, "the request's target is none")
                )
            else:
                self.error = check_fields(self.version, self.headers, chunked=self.chunked)
        self.body_rcv = None
        connection = self.headers.get("CONNECTION", "")
        if "," in connection and "close" in connection.lower().replace(" ", "").split(","):
            self._close_afterwards()
        if self.error is not None:
            self._expect_no_body()
        elif self.chunked:
            self.body_rcv = ChunkedBody(self.adj.max_body)
        elif self.content_length > self.adj.max_body and (
            self.expect_continue or self.content_length > self.adj.max_body + BODY_SLACK
        ):
            # The application refuses it by its declared length, and the connection is closed after that.
            self._close_afterwards()
            self._expect_no_body()
        elif not self.content_length:
            self._expect_no_body()

    def _close_afterwards(self) -> None:
        self.connection_close = True
        self.headers["CONNECTION"] = "close"  # which waitress's tasks go by; they know no list

    def _expect_no_body(self) -> None:
        """Let the request be complete with its head; waitress would ask for the body of one that it refuses."""
        self.content_length = 0
        self.chunked = self.expect_continue = False


class UsualRequest:
    """A request that came whole, with a head whose requests need no environ; in a channel's list as parsed ones are.

    `generation` is the configuration that knows the head.
    """

    __slots__ = ("block", "data", "generation", "head")

    error = None

    def __init__(self, generation: Generation, head: UsualHead, block: bytes, data: bytes) -> None:
        self.generation = generation
        self.head = head
        self.block = block
        self.data = data

    def parsed(self, adj: Any) -> Parser:
        """Return it as the parser does."""
        request = Parser(adj)
        request.received(self.data)
        request.received(self.data[len(self.block) :])
        return request

    def close(self) -> None:
        """Do nothing; a parsed request closes the buffer of its body."""


class Task(WSGITask):  # type: ignore[misc] # waitress has no types
    """waitress's task, which writes a complete reply in one call."""

    _headers: Sequence[tuple[str, str]] = ()

    def get_environment(self) -> dict[str, Any]:
        """Return the WSGI environ."""
        request, channel = self.request, self.channel
        cached: _CachedHead | None = request.cached
        template = cached.environs.get(channel.server) if cached else None
        environ: dict[str, Any]
        if template is None:
            environ = super().get_environment()
            environ[ENTER] = leave_io_thread
            if cached:
                cached.environs[channel.server] = {k: v for k, v in environ.items() if k not in _OF_ONE_CHANNEL}
        else:
            environ = {
                **template,
                "REMOTE_ADDR": channel.addr[0],
                "REMOTE_HOST": channel.addr[0],
                "REMOTE_PORT": str(channel.addr[1]),
                "wsgi.input": request.get_body_stream(),
                "waitress.client_disconnected": channel.check_client_disconnected,
            }
        if request.passed:
            environ[PASSED] = request.passed
        if request.queued_seconds is not None:
            environ[ENTER] = wait_here
            environ[QUEUED_SECONDS] = request.queued_seconds
        return environ

    def execute(self) -> None:
        """Call the application and write its reply."""
        request = self.request
        if request.waiting is not None:
            self._check_head(request.waiting)
            return
        if (signed := self.channel.batched) is not None:
            self.channel.batched = None
            if signed.pool is not None:
                raise RuntimeError("a thread has not signed a request, for a reason that was logged")
            self.complete = self.wrote_header = True
            self.add_to_batch(signed)
            return
        if request.cached is None or request.command == "HEAD":
            super().execute()
            return
        environ = self.get_environment()
        if request.queued_seconds is None:
            environ[BATCH] = self.add_to_batch
            usual, block = self.channel.server.live.generation.usual, request.cached.block
            if usual is not None and block not in usual.usual_heads:
                usual.learn(block, environ, closes=request.connection_close)
        body = self.channel.server.application(environ, self._start)
        self.complete = True
        self.close_on_finish = request.connection_close and body is not DEFERRED
        if body is DEFERRED:
            self.wrote_header = True
        elif type(body) is list and len(body) == 1 and self.has_body:
            self._write_whole(self.status, self._headers, body[0])
        else:
            self._write_in_parts(self._headers, body)

    def _check_head(self, waiting: Parser) -> None:
        """Let guards see a head. A client that they refuse is answered now, and what it still sends is not kept."""
        environ = self.get_environment()
        refusal = self.channel.server.application.check_head(environ, self._start)
        self.complete = self.wrote_header = True
        if refusal is None:
            waiting.passed = environ.get(PASSED, {})
            return
        self.request.connection_close = self.close_on_finish = True
        self.channel.unread = True
        self._write_whole(self.status, self._headers, b"".join(refusal))

    def add_to_batch(self, request: BatchedRequest) -> None:
        """Add a request to the batch, which writes its reply later; one that has to be signed leaves for its pool."""
        if (pool := request.pool) is not None:
            raise LeaveIoThread(pool, request)
        request.connection = self.channel
        self.channel.awaits_reply = True
        if self.request.connection_close:
            del self.channel.requests[1:]
        request.answer = self._write_whole
        self.channel.server.task_dispatcher.batch.add(request)

    def _start(self, status: str, headers: list[tuple[str, str]], _info: object = None) -> Callable[..., Any]:
        self.status = status
        self._headers = headers
        write: Callable[..., Any] = self.write
        return write

    def _write_whole(self, status: str, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        channel = self.channel
        close = self.request.connection_close
        if not close and channel.server.slots.letting_go and channel.lets_go():
            close = True
        reply = _head(status, headers, len(body), channel.adj.ident, close=close) + body
        if self.request.queued_seconds is None:
            channel.put(reply)
        else:
            with suppress(ClientDisconnected):  # the client is gone, so the reply is dropped
                channel.write_soon(reply)
        if close:
            channel.close_when_flushed = True
        channel.awaits_reply = False  # from here on the next request of this connection may be answered
        self.wrote_header = True

    def _write_in_parts(self, headers: Sequence[tuple[str, str]], body: Iterable[bytes]) -> None:
        """Let waitress write a reply without a body or of several parts."""
        self.response_headers = list(headers)
        lengths = [value for name, value in headers if name.lower() == "content-length"]
        self.content_length = int(lengths[0]) if lengths else None
        try:
            for part in body:
                if part:
                    self.write(part)
        finally:
            if hasattr(body, "close"):
                body.close()


@lru_cache(maxsize=256)
def _name(name: str) -> str:
    """Return a header's name as waitress writes it; raises ValueError for hop-by-hop headers (PEP 3333)."""
    if name.lower() in hop_by_hop or not name.isascii() or not name.isprintable():
        raise ValueError(f"an application cannot send the header {name!r}")
    return "-".join(part.capitalize() for part in name.split("-"))


@lru_cache(maxsize=8)
def usual_reply(_second: int, status: str, headers: tuple[tuple[str, str], ...], ident: str, close: bool) -> bytes:
    """Return a reply as a format for its id, its length and its body; what else it says holds for this second."""
    text = _head(status, headers, _LENGTH, ident, close=close).replace(b"%", b"%%")
    return text.replace(REQUEST_ID.encode("ascii"), b"%b").replace(b": %d" % _LENGTH, b": %d") + b"%b"


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return str(build_http_date(second))


def _head(status: str, headers: Sequence[tuple[str, str]], size: int, ident: str, *, close: bool) -> bytes:
    """Return the status line and the header block of an HTTP/1.1 reply with `size` bytes of body."""
    lines = [f"HTTP/1.1 {status}", "Connection: close"] if close else [f"HTTP/1.1 {status}"]
    lines += [f"{_name(name)}: {value}" for name, value in headers if name != "content-length"]
    lines += (f"Content-Length: {size}", f"Server: {ident}", f"Date: {_date(int(time.time()))}", "\r\n")
    text = "\r\n".join(lines)
    # One line break for each line and the empty one: a value that contains a line break would forge a header.
    if text.count("\n") != len(lines) or text.count("\r") != len(lines):
        raise ValueError("a line break in a reply's header")
    return text.encode("latin-1")
