"""The routes that issue timestamps, as Falcon calls them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable

import falcon

from tsa_core.api import RequestContext, RequestRejected, Route
from tsa_core.authority import RequestTrace
from tsa_core.http import sigstore_mode
from tsa_core.http.request_body import read_body
from tsa_core.http.sigstore import UNDECODABLE, JsonRequestError, error_message, read_json_request
from tsa_core.http.thread_pools import ENTER, wait_here
from tsa_core.http.timestamp import BUSY, IDENTITY, NO_CACHE, QUERY_TYPE, REPLY_TYPE, TRACE, TimestampResource

JSON_TYPE = "application/json"
_UNNAMED_TYPE = "application/octet-stream"
"""What a body is that nobody has named (RFC 9110 8.3)."""


class TimestampRoute:
    """POST: a DER TimeStampReq, or the Sigstore Timestamp Authority's JSON, answered with a DER TimeStampResp.

    A DER request is answered with HTTP 200, refused ones too, because clients read the refusal from the TimeStampResp
    (RFC 3161 3.4). With `[server] rejections = "sigstore"`, refusals are HTTP 400 and JSON instead. `routes` are those
    of plugins, of which 415 tells whoever speaks their protocol.
    """

    def __init__(self, timestamps: TimestampResource, *, json_rejections: bool, routes: Iterable[Route] = ()) -> None:
        self._timestamps = timestamps
        self._json_rejections = json_rejections
        self._no_cache = sigstore_mode.NO_CACHE if json_rejections else {"Cache-Control": NO_CACHE}
        self._paths_for: dict[str, list[str]] = {}
        """The paths of plugins' routes that take a media type, by that."""
        for route in routes:
            for media_type in route.takes:
                self._paths_for.setdefault(media_type, []).append(route.path)

    def on_post(self, request: falcon.Request, response: falcon.Response, profile: str | None = None) -> None:
        """Answer one request."""
        # WSGI variables, because Falcon's properties cost as much as reading the whole timestamp request.
        environ, authority = request.env, self._timestamps.authority
        response.set_headers(self._no_cache)
        request_id = self._timestamps.request_id(environ)
        response.set_header(self._timestamps.id_header, request_id)
        if profile is not None and profile not in authority.profiles:
            raise falcon.HTTPNotFound(description=f"there is no profile {profile[:64]!r} here")
        if self._json_rejections and not sigstore_mode.has_body(environ):
            raise sigstore_mode.body_required()
        content_type = environ.get("CONTENT_TYPE") or ""
        if content_type != QUERY_TYPE:
            content_type = content_type.partition(";")[0].strip().lower()
        if content_type not in {QUERY_TYPE, JSON_TYPE}:
            raise self._unsupported(content_type or _UNNAMED_TYPE)
        try:
            body = read_body(request, self._timestamps.max_body or None)
        except falcon.HTTPContentTooLarge:
            if self._json_rejections:
                raise _http_error(400, UNDECODABLE) from None
            raise
        if self._json_rejections and not body:  # of chunks
            raise sigstore_mode.body_required()
        context = RequestContext(
            request_id=request_id,
            client_address=environ.get("REMOTE_ADDR") or "",
            profile=profile,
            header=request.get_header,
            enter=environ.get(ENTER, wait_here),
            identity=environ.get(IDENTITY),
        )
        if content_type == QUERY_TYPE:
            reply = self._timestamps.respond(body, context, environ)
            if reply.rejection is not None and self._json_rejections:
                raise _http_error(*error_message(reply.rejection))
            self._send(response, reply.der, self._timestamps.status_of(reply))
            return
        trace = environ.get(TRACE)
        if self._timestamps.waited_too_long(environ):
            authority.refuse(BUSY, context, trace, waited=True)
            raise _http_error(*error_message(BUSY))
        try:
            granted = self._issue_for_json(body, context, trace)
        except JsonRequestError as error:
            authority.refuse(error.rejection, context, trace)
            raise _http_error(400, str(error)) from None
        except RequestRejected as rejection:
            raise _http_error(*error_message(rejection)) from None
        self._send(response, granted, self._timestamps.granted)

    def _unsupported(self, content_type: str) -> falcon.HTTPError:
        said = f"unsupported media type {json.dumps(content_type[:80])}, only [{QUERY_TYPE} {JSON_TYPE}] are allowed"
        if paths := self._paths_for.get(content_type):
            said += f"; if it is no RFC 3161 request, its address is {' or '.join(paths)}"
        return falcon.HTTPUnsupportedMediaType(description=said)

    def _issue_for_json(self, body: bytes, context: RequestContext, trace: RequestTrace | None) -> bytes:
        if trace is None:
            return self._timestamps.authority.issue(read_json_request(body), context)
        request = read_json_request(body)
        trace.parse_ended = time.perf_counter_ns()
        return self._timestamps.authority.issue(request, context, trace)

    @staticmethod
    def _send(response: falcon.Response, der: bytes, status: str) -> None:
        response.status = status
        response.content_type = REPLY_TYPE
        response.data = der


class AliasRoute:
    """POST at another path of a profile: `[profiles.NAME] paths`."""

    def __init__(self, timestamp: TimestampRoute, profile: str) -> None:
        self._timestamp = timestamp
        self._profile = profile

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """Answer one request with this profile."""
        self._timestamp.on_post(request, response, self._profile)


def _http_error(status: int, message: str) -> falcon.HTTPError:
    return sigstore_mode.RefusedTimestamp(status, description=message)
