"""Answers the paths that plugins add. No mistake of a handler costs more than its own reply."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from functools import partial
from itertools import groupby
from pathlib import PurePath
from typing import Any, Final

import falcon

from tsa_core.api import Route, RouteReply, RouteRequest
from tsa_core.api.time_limit import told
from tsa_core.api.wrong_types import describe
from tsa_core.config import ServerSettings
from tsa_core.http.request_body import read_body
from tsa_core.http.thread_pools import ENTER, QUEUED_SECONDS, ROUTES_POOL, wait_here
from tsa_core.http.timestamp import IDENTITY, TRACE, TimestampResource
from tsa_core.http.web_pages import address
from tsa_core.service import HandlerOverdue, OpenedRoutes, Service

log = logging.getLogger(__name__)

_HTML: Final = "text/html"
_NOTHING_ALLOWED: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_MAX_PATH: Final = 256
"""Characters of a path that the log repeats."""
_FAILED: Final = "the server failed to answer; its log has the reason"
_BUSY: Final = "this page does not answer now; try again later"


class PluginResource:
    """One path of a plugin: a responder for each method, made from its routes."""

    on_get: Any
    on_head: Any
    on_post: Any

    def __init__(
        self, opened: OpenedRoutes, routes: list[Route], service: Service, timestamp: TimestampResource
    ) -> None:
        self.what = opened.what
        self._opened = opened
        self._settings: ServerSettings = service.settings.server
        self._queue_seconds = self._settings.queue_timeout.total_seconds()
        self._request_id = timestamp.request_id
        self._id_header = timestamp.id_header
        for route in routes:
            for method in route.methods:
                responder = partial(self._send, route.answer) if isinstance(route.answer, RouteReply) else None
                setattr(self, f"on_{method.lower()}", responder or partial(self._handle, route))
        if hasattr(self, "on_get"):
            self.on_head = self.on_get

    def _send(
        self, reply: RouteReply, request: falcon.Request, response: falcon.Response, /, **_parameters: str
    ) -> None:
        response.set_header(self._id_header, self._request_id(request.env))
        _fill_in(request, response, reply)

    def _handle(self, route: Route, request: falcon.Request, response: falcon.Response, /, **parameters: str) -> None:
        environ = request.env
        # On the I/O thread this ends the run, and a thread of the plugin's own pool runs the request again.
        environ.get(ENTER, wait_here)(f"{ROUTES_POOL}{self._opened.name}")
        if environ.get(QUEUED_SECONDS, 0.0) > self._queue_seconds:
            raise _unavailable()
        request_id = self._request_id(environ)
        response.set_header(self._id_header, request_id)
        asked = RouteRequest(
            method="GET" if request.method == "HEAD" else request.method,
            path=request.path,
            parameters=parameters,
            query=_first_values(request),
            content_type=request.content_type or "",
            body=read_body(request, _lower(route.max_body, self._settings.max_request_body_size)),
            client_address=environ.get("REMOTE_ADDR") or "",
            request_id=request_id,
            base_url=address(request, self._settings),
            header=request.get_header,
            identity=environ.get(IDENTITY),
            trace=environ.get(TRACE),
        )
        _fill_in(request, response, self._ask(route, asked))

    def _ask(self, route: Route, asked: RouteRequest) -> RouteReply:
        """Return what the handler says; raises falcon.HTTPError, and nothing else, for whatever else it does."""
        assert not isinstance(route.answer, RouteReply)  # noqa: S101 - those are sent at once
        handler = route.answer
        try:
            reply: object = self._opened.calls.call(partial(handler, asked))
        except HandlerOverdue:
            raise _unavailable() from None
        except BaseException as error:  # noqa: BLE001 - sys.exit() in a plugin is no reason to end
            self._tell(asked, type(error).__name__, _said(error), error)
            raise falcon.HTTPInternalServerError(description=_FAILED) from None
        if not isinstance(reply, RouteReply):
            self._tell(asked, "reply", f"the handler returned {describe(reply)}, not a RouteReply", None)
            raise falcon.HTTPInternalServerError(description=_FAILED)
        return reply

    def _tell(self, asked: RouteRequest, kind: str, text: str, error: BaseException | None) -> None:
        where = f"{asked.method} {asked.path[:_MAX_PATH]!r}"
        self._opened.failures.error(kind, asked.request_id, f"{self._opened.what} failed at {where}: {text}")
        if error is not None:
            log.debug("%s failed at %s", self._opened.what, where, exc_info=error)


def plugin_resources(service: Service, timestamp: TimestampResource) -> dict[str, PluginResource]:
    """Return the resources of all plugins' paths by their templates, as Falcon writes them."""
    found: dict[str, PluginResource] = {}
    for opened in service.routes:
        routes = sorted(opened.routes, key=lambda route: route.path)
        for path, same in groupby(routes, key=lambda route: route.path):
            found[path] = PluginResource(opened, list(same), service, timestamp)
    return found


def _fill_in(request: falcon.Request, response: falcon.Response, reply: RouteReply) -> None:
    response.status = reply.status
    response.content_type = reply.content_type
    response.set_header("Cache-Control", reply.cache)
    response.set_header("X-Content-Type-Options", "nosniff")
    if reply.content_type.startswith(_HTML):
        response.set_header("Content-Security-Policy", _NOTHING_ALLOWED)
    response.set_headers(dict(reply.headers))
    if reply.etag:
        response.etag = reply.etag
        if reply.status == 200 and any(known in {"*", reply.etag} for known in request.if_none_match or ()):
            response.status = falcon.HTTP_304
            return
    response.data = reply.body


def _first_values(request: falcon.Request) -> Mapping[str, str]:
    return {name: value if isinstance(value, str) else value[0] for name, value in request.params.items()}


def _lower(limit: int, other: int) -> int:
    """Return the lower of two limits, of which the second may be 0: no limit."""
    return min(limit, other) if other else limit


def _unavailable() -> falcon.HTTPError:
    return falcon.HTTPServiceUnavailable(description=_BUSY, retry_after=1)


def _said(error: BaseException) -> str:
    """Return what an error says in one line, and where it was raised."""
    said = told(error)
    frames = traceback.extract_tb(error.__traceback__)
    return f"{said} ({PurePath(frames[-1].filename).name}:{frames[-1].lineno})" if frames else said
