"""The fast path: a DER request to the default route is answered before Falcon sees it.

That is what timestamp clients send. Falcon answers every other request: another route or method, JSON, a body without
a length or too large, a page of another origin. Both call the same resource. Measured: saves a tenth of a request's
CPU time.

A client sends the same header block with every request, and nothing but the block decides who answers. So a server may
learn it: `FastPath.usual_heads` has, by the octets of a block, what is the same for all requests that have it. Such a
request needs no environ, and its reply no list of headers (decision 285).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from time import time
from typing import Any

from tsa_core.api import RequestContext
from tsa_core.authority import BatchGuard, PluginCalls, Reply, RequestTrace
from tsa_core.config import ServerSettings
from tsa_core.http.batching import BATCH, DEFERRED, BatchedRequest
from tsa_core.http.observability import RequestTracingMiddleware
from tsa_core.http.preparing import Preparer
from tsa_core.http.thread_pools import ENTER, leave_io_thread, wait_here
from tsa_core.http.timestamp import IDENTITY, NO_CACHE, QUERY_TYPE, REPLY_TYPE, TRACE, TimestampResource
from tsa_core.http.wsgi_types import WsgiApplication

ROUTE = "/api/v1/timestamp"

REQUEST_ID = "{request-id}"
"""In `UsualHead.reply_headers`: where the id of a request goes."""
_MAX_DIGITS = 18
"""No body is as long as a number of more digits says."""
_MAX_HEADS = 256
"""Header blocks that are known at the same time."""


def with_fast_path(
    app: WsgiApplication,
    settings: ServerSettings,
    resource: TimestampResource,
    tracing: RequestTracingMiddleware | None,
) -> WsgiApplication:
    """Return `app` with the fast path before it; `app` itself where settings change the replies."""
    if settings.http_ping_only or settings.rejections == "sigstore":
        return app
    return FastPath(app, resource, tracing)


class FastPath:
    """The application with the fast path before it. `usual_heads` and `learn` are for the I/O thread."""

    def __init__(
        self, app: WsgiApplication, resource: TimestampResource, tracing: RequestTracingMiddleware | None
    ) -> None:
        self._app = app
        self._resource = resource
        self._tracing = tracing
        self._limit = resource.max_body or 10**_MAX_DIGITS
        self._responder = _FastResponder(resource, tracing)
        self.usual_heads: dict[bytes, UsualHead | None] = {}
        """What is known of a header block; None where the fast path answers no request that has it."""

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        if not self._answers(environ):
            return self._app(environ, start_response)
        resource = self._resource
        if self._tracing is not None:
            self._tracing.begin(environ)
        request_id = resource.request_id(environ)
        context = RequestContext(
            request_id=request_id,
            client_address=environ.get("REMOTE_ADDR") or "",
            header=partial(header_of, environ),
            enter=environ.get(ENTER, wait_here),
            identity=environ.get(IDENTITY),
        )
        body = bytes(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        add_to_batch = environ.get(BATCH)
        if add_to_batch is not None:
            pending = resource.admit(body, context, environ.get(TRACE))
            add_to_batch(BatchedRequest(self._responder, pending, environ, request_id))
            return DEFERRED
        reply = resource.respond(body, context, environ)
        start_response(*self._responder.head(reply, environ, request_id))
        return [reply.der]

    def _answers(self, environ: dict[str, Any]) -> bool:
        """Say whether the fast path answers a request; the header block alone decides."""
        declared = environ.get("CONTENT_LENGTH") or ""
        return (
            environ["PATH_INFO"] == ROUTE
            and environ["REQUEST_METHOD"] == "POST"
            and environ.get("CONTENT_TYPE") == QUERY_TYPE
            and declared.isascii()
            and declared.isdigit()
            and len(declared) <= _MAX_DIGITS
            and int(declared) <= self._limit
            and "HTTP_ORIGIN" not in environ
        )

    def learn(self, block: bytes, environ: dict[str, Any], *, closes: bool) -> None:
        """Note what a header block says of all requests that have it; `closes`: each is the last of its connection.

        `environ` is that of one of them. It must come from the block alone, but for its body and its client.
        """
        if len(self.usual_heads) >= _MAX_HEADS:
            self.usual_heads.clear()
        self.usual_heads[block] = (
            UsualHead(self._resource, self._responder, self._tracing, environ, closes=closes)
            if self._answers(environ)
            else None
        )


class UsualHead:
    """What is the same for all requests with one header block; for the I/O thread.

    `size` is the length of a body in octets. After the reply, `closes` says, the connection is closed.
    """

    __slots__ = (
        "_admit",
        "_given_id",
        "_header",
        "_new_id",
        "_responder",
        "_tracing",
        "closes",
        "reply_headers",
        "size",
    )

    def __init__(
        self,
        resource: TimestampResource,
        responder: _FastResponder,
        tracing: RequestTracingMiddleware | None,
        environ: dict[str, Any],
        *,
        closes: bool,
    ) -> None:
        self._admit = resource.authority.admit
        self._new_id = resource.new_id
        self._responder = responder
        self._tracing = tracing
        sent = {name: value for name, value in environ.items() if name.startswith(("HTTP_", "CONTENT_"))}
        self._header = partial(header_of, sent)
        self._given_id = resource.given_id(environ)
        self.size = int(environ["CONTENT_LENGTH"])
        self.closes = closes
        self.reply_headers = responder.headers
        """The headers of a reply, but for its length; the value of the request's id is REQUEST_ID."""

    def begin(self, body: bytes, client_address: str) -> BatchedRequest:
        """Read a request, for the batch; raises LeaveIoThread when it has to wait for something."""
        request_id = self._given_id or self._new_id()
        context = RequestContext(
            request_id=request_id,
            client_address=client_address,
            header=self._header,
            enter=leave_io_thread,
        )
        trace = self._tracing.begin_usual() if self._tracing is not None else None
        pending = self._admit(body, context, trace, may_wait=True)
        return BatchedRequest(self._responder, pending, {}, request_id, self)


class _FastResponder:
    """Answers the requests of the fast path, in batches or not."""

    def __init__(self, resource: TimestampResource, tracing: RequestTracingMiddleware | None) -> None:
        self._resource = resource
        self._authority = resource.authority
        self._tracing = tracing
        self._id_header = resource.id_header.lower()
        self.headers = (("cache-control", NO_CACHE), (self._id_header, REQUEST_ID), ("content-type", REPLY_TYPE))
        self.preparer = Preparer(resource.authority)
        self.may_wait = resource.authority.may_wait
        self.least_batch = resource.authority.least_batch

    def head(self, reply: Reply, environ: dict[str, Any], request_id: str) -> tuple[str, list[tuple[str, str]]]:
        """Return status and headers of a reply, and end its trace."""
        status = self._resource.status_of(reply)
        if self._tracing is not None:
            self._tracing.end(environ, route=ROUTE, path=ROUTE, code=status[:3], request_id=request_id)
        return status, [
            ("cache-control", NO_CACHE),
            (self._id_header, request_id),
            ("content-type", REPLY_TYPE),
            ("content-length", str(len(reply.der))),
        ]

    def respond(self, batch: Sequence[BatchedRequest], guard: BatchGuard) -> float:
        seconds = self._authority.respond_batch([each.pending for each in batch], guard)
        self._answer(batch)
        return seconds

    def give_up(self, batch: Sequence[BatchedRequest], hanging: PluginCalls) -> None:
        self._authority.give_up([each.pending for each in batch], hanging)
        self._answer(batch)

    def sign(self, request: BatchedRequest, guard: BatchGuard) -> None:
        self._authority.in_threads.sign(request.pending, guard)

    def lose(self, request: BatchedRequest, hanging: PluginCalls) -> None:
        self._authority.in_threads.lose(request.pending, hanging)

    def refuse_waiting(self, request: BatchedRequest, waited: float) -> None:
        self._resource.refuse_waiting(request.pending, waited)

    def _answer(self, batch: Sequence[BatchedRequest]) -> None:
        """Pass on the replies. When one fails, that is raised once all others are passed on, and all are counted."""
        ended: list[tuple[RequestTrace, str, str, str]] = []
        second = int(time())
        failed: Exception | None = None
        for each in batch:
            try:
                pending = each.pending
                reply = pending.answered
                if each.usual is None:
                    each.answer(*self.head(reply, each.environ, each.request_id), reply.der)
                else:
                    status = self._resource.status_of(reply)
                    if pending.trace is not None:  # first: a connection that fails changes nothing of what was signed
                        ended.append((pending.trace, status[:3], pending.context.client_address, each.request_id))
                    each.connection.answer_usual(second, status, each, reply.der)
                each.answered = True
            except Exception as error:  # noqa: BLE001 - raised below
                failed = failed or error
        if ended and self._tracing is not None:
            self._tracing.end_usual(ROUTE, ended)
        if failed is not None:
            raise failed


def header_of(environ: dict[str, Any], name: str) -> str | None:
    """Return a request's header, as Falcon would."""
    variable = name.upper().replace("-", "_")
    if variable not in {"CONTENT_TYPE", "CONTENT_LENGTH"}:
        variable = "HTTP_" + variable
    return environ.get(variable)
