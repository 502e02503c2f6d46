"""The routes that issue timestamps."""

from __future__ import annotations

import itertools
import json
import logging
import math
import os
import time
from collections.abc import Iterable
from typing import Any

import falcon

from tsa_core.api import PKIFailureInfo, RequestContext, RequestRejected, Route
from tsa_core.authority import PendingRequest, Reply, RequestTrace, TimestampAuthority
from tsa_core.config import ServerSettings
from tsa_core.http import sigstore_mode
from tsa_core.http.request_body import read_body
from tsa_core.http.sigstore import UNDECODABLE, JsonRequestError, error_message, read_json_request
from tsa_core.http.thread_pools import ENTER, QUEUED_SECONDS, wait_here

log = logging.getLogger(__name__)

QUERY_TYPE = "application/timestamp-query"
REPLY_TYPE = sigstore_mode.REPLY_TYPE
JSON_TYPE = "application/json"
_UNNAMED_TYPE = "application/octet-stream"
"""What a body is that nobody has named (RFC 9110 8.3)."""

BUSY = RequestRejected(PKIFailureInfo.SYSTEM_FAILURE, "too many requests are waiting; try again later")
"""The rejection of a request for which no thread is free in time."""

TRACE = "tsa_core.trace"
"""In environ, when metrics or the access log are on: the RequestTrace to fill in."""

IDENTITY = "tsa_core.identity"
"""In environ, when there are guards: the Identity that they found, or None."""

NO_CACHE = "no-cache, no-store, max-age=0"
_MAX_REQUEST_ID = 128
_WARNING_PAUSE_SECONDS = 10.0


class TimestampResource:
    """POST: a DER TimeStampReq, or the Sigstore Timestamp Authority's JSON, answered with a DER TimeStampResp.

    A DER request is answered with HTTP 200, refused ones too, because clients read the refusal from the TimeStampResp
    (RFC 3161 3.4). With `[server] rejections = "sigstore"`, refusals are HTTP 400 and JSON instead. `routes` are those
    of plugins, of which 415 tells whoever speaks their protocol.
    """

    def __init__(
        self, authority: TimestampAuthority, settings: ServerSettings, *, routes: Iterable[Route] = ()
    ) -> None:
        self.authority = authority
        self._granted = falcon.HTTP_201 if settings.use_http_201 else falcon.HTTP_200
        self._json_rejections = settings.rejections == "sigstore"
        self._no_cache = sigstore_mode.NO_CACHE if self._json_rejections else {"Cache-Control": NO_CACHE}
        self.max_body = settings.max_request_body_size
        self._queue_seconds = settings.queue_timeout.total_seconds()
        self._next_warning = 0.0
        self._paths_for: dict[str, list[str]] = {}
        """The paths of plugins' routes that take a media type, by that."""
        for route in routes:
            for media_type in route.takes:
                self._paths_for.setdefault(media_type, []).append(route.path)
        self.id_header = settings.request_id_header
        self.id_variable = "HTTP_" + settings.request_id_header.upper().replace("-", "_")
        # Unique across processes and starts, and cheaper than a random number for each request.
        self._id_prefix = os.urandom(6).hex()
        self._id_count = itertools.count(1)

    def on_post(self, request: falcon.Request, response: falcon.Response, profile: str | None = None) -> None:
        """Answer one request."""
        # WSGI variables, because Falcon's properties cost as much as reading the whole timestamp request.
        environ = request.env
        response.set_headers(self._no_cache)
        request_id = self.request_id(environ)
        response.set_header(self.id_header, request_id)
        if profile is not None and profile not in self.authority.profiles:
            raise falcon.HTTPNotFound(description=f"there is no profile {profile[:64]!r} here")
        if self._json_rejections and not sigstore_mode.has_body(environ):
            raise sigstore_mode.body_required()
        content_type = environ.get("CONTENT_TYPE") or ""
        if content_type != QUERY_TYPE:
            content_type = content_type.partition(";")[0].strip().lower()
        if content_type not in {QUERY_TYPE, JSON_TYPE}:
            raise self._unsupported(content_type or _UNNAMED_TYPE)
        try:
            body = read_body(request, self.max_body or None)
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
            reply = self.respond(body, context, environ)
            if reply.rejection is not None and self._json_rejections:
                raise _http_error(*error_message(reply.rejection))
            self._send(response, reply.der, self.status_of(reply))
            return
        trace = environ.get(TRACE)
        if self._waited_too_long(environ):
            self.authority.refuse(BUSY, context, trace, waited=True)
            raise _http_error(*error_message(BUSY))
        try:
            granted = self._issue_for_json(body, context, trace)
        except JsonRequestError as error:
            self.authority.refuse(error.rejection, context, trace)
            raise _http_error(400, str(error)) from None
        except RequestRejected as rejection:
            raise _http_error(*error_message(rejection)) from None
        self._send(response, granted, self._granted)

    def _unsupported(self, content_type: str) -> falcon.HTTPError:
        said = f"unsupported media type {json.dumps(content_type[:80])}, only [{QUERY_TYPE} {JSON_TYPE}] are allowed"
        if paths := self._paths_for.get(content_type):
            said += f"; if it is no RFC 3161 request, its address is {' or '.join(paths)}"
        return falcon.HTTPUnsupportedMediaType(description=said)

    def respond(self, body: bytes, context: RequestContext, environ: dict[str, Any]) -> Reply:
        """Answer the body of a DER request; refuse it when it has waited too long for a thread."""
        trace = environ.get(TRACE)
        if self._waited_too_long(environ):
            return self.authority.refuse(BUSY, context, trace, waited=True)
        return self.authority.respond(body, context, trace)

    def admit(self, body: bytes, context: RequestContext, trace: RequestTrace | None) -> PendingRequest:
        """Read the body of a DER request that `TimestampAuthority.respond_batch` answers later."""
        return self.authority.admit(body, context, trace, may_wait=True)

    def refuse_waiting(self, pending: PendingRequest, waited: float) -> None:
        """Refuse an admitted request that has waited too long for a thread."""
        self._warn_of_queue(waited)
        self.authority.in_threads.refuse(pending, BUSY)

    def status_of(self, reply: Reply) -> str:
        """Return the HTTP status of a reply to a DER request."""
        return self._granted if reply.rejection is None else falcon.HTTP_200

    def _waited_too_long(self, environ: dict[str, Any]) -> bool:
        queued_seconds = environ.get(QUEUED_SECONDS, 0.0)
        if queued_seconds <= self._queue_seconds:
            return False
        self._warn_of_queue(queued_seconds)
        return True

    def _issue_for_json(self, body: bytes, context: RequestContext, trace: RequestTrace | None) -> bytes:
        if trace is None:
            return self.authority.issue(read_json_request(body), context)
        request = read_json_request(body)
        trace.parse_ended = time.perf_counter_ns()
        return self.authority.issue(request, context, trace)

    def _warn_of_queue(self, queued_seconds: float) -> None:
        """Log a warning, at most once in ten seconds."""
        now = time.monotonic()
        if now >= self._next_warning:
            self._next_warning = now + _WARNING_PAUSE_SECONDS
            log.warning(
                "requests wait too long for a thread (%s) and are refused; the signer's backend is slow or hangs, "
                "or [server] threads is too low",
                f"{queued_seconds:.1f} s" if math.isfinite(queued_seconds) else "the queue is full",
            )

    @staticmethod
    def _send(response: falcon.Response, der: bytes, status: str) -> None:
        response.status = status
        response.content_type = REPLY_TYPE
        response.data = der

    def request_id(self, environ: dict[str, Any]) -> str:
        """Return the id of a request: that in the client's header if it is valid, else a new one."""
        return self.given_id(environ) or self.new_id()

    def given_id(self, environ: dict[str, Any]) -> str:
        """Return the id in the client's header if it is valid, else nothing."""
        given: str | None = environ.get(self.id_variable)
        # The id goes into a header and into the log: a space or a control character there could forge an entry.
        if given and len(given) <= _MAX_REQUEST_ID and given.isascii() and given.isprintable() and " " not in given:
            return given
        return ""

    def new_id(self) -> str:
        """Return an id for a request whose client names none."""
        return f"{self._id_prefix}-{next(self._id_count):x}"


class AliasResource:
    """POST at another path of a profile: `[profiles.NAME] paths`."""

    def __init__(self, timestamp: TimestampResource, profile: str) -> None:
        self._timestamp = timestamp
        self._profile = profile

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """Answer one request with this profile."""
        self._timestamp.on_post(request, response, self._profile)


def _http_error(status: int, message: str) -> falcon.HTTPError:
    return sigstore_mode.RefusedTimestamp(status, description=message)
