"""The request that timestamp clients send, answered before the framework: a DER request to the default route.

Whatever differs in anything (another route or method, JSON, a body without a length or too large, a page of another
origin) is the framework's. What both do alike, the resource does. Measured: a tenth of a request's CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from tsa_core.api import RequestContext
from tsa_core.authority import Reply
from tsa_core.config import ServerSettings
from tsa_core.http.batching import BATCH, DEFERRED, BatchedRequest
from tsa_core.http.observing import ObservingMiddleware
from tsa_core.http.signer_pools import ENTER, stay
from tsa_core.http.timestamp import NO_CACHE, QUERY_TYPE, REPLY_TYPE, TimestampResource
from tsa_core.http.wsgi_types import WsgiApplication

ROUTE = "/api/v1/timestamp"

_MAX_DIGITS = 18
"""A length of more digits counts more bytes than there are."""


def with_fast_path(
    app: WsgiApplication, settings: ServerSettings, resource: TimestampResource, observing: ObservingMiddleware | None
) -> WsgiApplication:
    """Return `app` with the usual request answered before it, or `app` itself where settings make replies unusual."""
    if settings.http_ping_only or settings.rejections == "sigstore":
        return app
    limit = resource.max_body or 10**_MAX_DIGITS
    id_header = resource.id_header.lower()
    finish_pending = resource.authority.finish

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        declared = environ.get("CONTENT_LENGTH") or ""
        if not (
            environ["PATH_INFO"] == ROUTE
            and environ["REQUEST_METHOD"] == "POST"
            and environ.get("CONTENT_TYPE") == QUERY_TYPE
            and declared.isascii()
            and declared.isdigit()
            and len(declared) <= _MAX_DIGITS
            and int(declared) <= limit
            and "HTTP_ORIGIN" not in environ
        ):
            return app(environ, start_response)
        if observing is not None:
            observing.begin(environ)
        request_id = resource.request_id(environ)
        context = RequestContext(
            request_id=request_id,
            client_address=environ.get("REMOTE_ADDR") or "",
            header=partial(_header, environ),
            enter=environ.get(ENTER, stay),
        )
        body = bytes(environ["wsgi.input"].read(int(declared)))
        later = environ.get(BATCH)
        if later is not None:
            later(BatchedRequest(finish, resource.begin(body, context, environ), environ, request_id))
            return DEFERRED
        reply = resource.respond(body, context, environ)
        start_response(*head(reply, environ, request_id))
        return [reply.der]

    def head(reply: Reply, environ: dict[str, Any], request_id: str) -> tuple[str, list[tuple[str, str]]]:
        status = resource.status_of(reply)
        if observing is not None:
            observing.end(environ, route=ROUTE, path=ROUTE, code=status[:3], request_id=request_id)
        return status, [
            ("cache-control", NO_CACHE),
            (id_header, request_id),
            ("content-type", REPLY_TYPE),
            ("content-length", str(len(reply.der))),
        ]

    def finish(begun: Sequence[BatchedRequest]) -> float:
        seconds = finish_pending([each.pending for each in begun])
        for each in begun:
            reply = each.pending.answered
            each.answer(*head(reply, each.environ, each.request_id), reply.der)
            each.answered = True
        return seconds

    return application


def _header(environ: dict[str, Any], name: str) -> str | None:
    """Return a request's header, as the framework would."""
    variable = name.upper().replace("-", "_")
    if variable not in {"CONTENT_TYPE", "CONTENT_LENGTH"}:
        variable = "HTTP_" + variable
    return environ.get(variable)
