"""Issues timestamps over HTTP: what the fast path and Falcon's routes have in common, which needs no Falcon."""

from __future__ import annotations

import itertools
import logging
import math
import os
import time
from typing import Any

from tsa_core.api import PKIFailureInfo, RequestContext, RequestRejected
from tsa_core.authority import PendingRequest, Reply, RequestTrace, TimestampAuthority
from tsa_core.config import ServerSettings
from tsa_core.http.thread_pools import QUEUED_SECONDS

log = logging.getLogger(__name__)

QUERY_TYPE = "application/timestamp-query"
REPLY_TYPE = "application/timestamp-reply"

BUSY = RequestRejected(PKIFailureInfo.SYSTEM_FAILURE, "too many requests are waiting; try again later")
"""The rejection of a request for which no thread is free in time."""

TRACE = "tsa_core.trace"
"""In environ, when metrics or the access log are on: the RequestTrace to fill in."""

IDENTITY = "tsa_core.identity"
"""In environ, when there are guards: the Identity that they found, or None."""

NO_CACHE = "no-cache, no-store, max-age=0"
_OK = "200 OK"
_MAX_REQUEST_ID = 128
_WARNING_PAUSE_SECONDS = 10.0


class TimestampResource:
    """Gives requests to the authority, and makes the ids of requests."""

    def __init__(self, authority: TimestampAuthority, settings: ServerSettings) -> None:
        self.authority = authority
        self.granted = "201 Created" if settings.use_http_201 else _OK
        self.max_body = settings.max_request_body_size
        self._queue_seconds = settings.queue_timeout.total_seconds()
        self._next_warning = 0.0
        self.id_header = settings.request_id_header
        self.id_variable = "HTTP_" + settings.request_id_header.upper().replace("-", "_")
        # Unique across processes and starts, and cheaper than a random number for each request.
        self._id_prefix = os.urandom(6).hex()
        self._id_count = itertools.count(1)

    def respond(self, body: bytes, context: RequestContext, environ: dict[str, Any]) -> Reply:
        """Answer the body of a DER request; refuse it when it has waited too long for a thread."""
        trace = environ.get(TRACE)
        if self.waited_too_long(environ):
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
        return self.granted if reply.rejection is None else _OK

    def waited_too_long(self, environ: dict[str, Any]) -> bool:
        """Say whether a request has waited too long for a thread, and warn of it."""
        queued_seconds = environ.get(QUEUED_SECONDS, 0.0)
        if queued_seconds <= self._queue_seconds:
            return False
        self._warn_of_queue(queued_seconds)
        return True

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
