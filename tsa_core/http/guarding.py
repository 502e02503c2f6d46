"""Asks the guards about each request before the application does anything for it, the fast path included.

A server asks `check_head` while a body has not arrived: who is refused then need not send it, and it is not read.

Without guards the application is not wrapped, and this costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from tsa_core.api import GuardedRequest, GuardRefusal, Identity, TsaError
from tsa_core.authority import GUARD_ROUTE
from tsa_core.http.errors import error_body
from tsa_core.http.fast_path import header_of
from tsa_core.http.observability import RequestTracingMiddleware
from tsa_core.http.thread_pools import BEGINS_HERE, ENTER, QUEUED_SECONDS, wait_here
from tsa_core.http.timestamp import IDENTITY, TimestampResource
from tsa_core.http.wsgi_types import WsgiApplication
from tsa_core.service import GuardFailed, Guards

UNGUARDED: Final = frozenset({"/ping", "/healthz", "/readyz"})
"""What orchestrators and load balancers ask, who have no key."""

CLIENT_CERTIFICATE: Final = "tsa_core.client_certificate"
"""In environ: the certificate in DER that a client has shown over TLS."""
PASSED: Final = "tsa_core.passed"
"""In environ of a request that guards let pass when its head had come: what they found out."""
_POOL: Final = "[middleware] guards"
"""The pool of requests whose guards wait. No profile has such a name."""
_BUSY: Final = "the server cannot tell now whether you may use it; try again later"


def with_guards(
    app: WsgiApplication,
    guards: Guards | None,
    resource: TimestampResource,
    tracing: RequestTracingMiddleware | None,
    *,
    queue_seconds: float,
) -> WsgiApplication:
    """Return `app` behind the guards; `app` itself without any."""
    return app if guards is None else _GuardedApplication(app, guards, resource, tracing, queue_seconds=queue_seconds)


class _Refused(Exception):
    """Ends the processing of a request; says what its client is told."""

    def __init__(
        self, status: HTTPStatus, text: str, headers: Mapping[str, str], identity: Identity | None = None
    ) -> None:
        super().__init__(text)
        self.identity = identity
        self.status = status
        self.headers = headers


class _GuardedApplication:
    checks_heads = True

    def __init__(
        self,
        app: WsgiApplication,
        guards: Guards,
        resource: TimestampResource,
        tracing: RequestTracingMiddleware | None,
        *,
        queue_seconds: float,
    ) -> None:
        self._app = app
        self._guards = guards
        self._resource = resource
        self._tracing = tracing
        self._queue_seconds = queue_seconds
        self._id_header = resource.id_header.lower()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request when the guards let it pass, or have done so when its head had come."""
        passed = environ.get(PASSED)
        if passed is not None:
            environ.update(passed)
            return self._app(environ, start_response)
        refusal = self.check_head(environ, start_response)
        return self._app(environ, start_response) if refusal is None else refusal

    def check_head(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes] | None:
        """Return the refusal of a request whose body need not be there; None when it passes.

        Then PASSED in environ is what the environ of the whole request should have, so that guards are asked once.
        """
        if environ["PATH_INFO"] in UNGUARDED:
            return None
        request_id = self._resource.request_id(environ)
        try:
            environ[IDENTITY] = identity = self._identity(environ, request_id)
        except _Refused as refused:
            environ[IDENTITY] = refused.identity
            return self._refuse(refused, environ, start_response, request_id)
        # The same identifier in the reply, the log and the audit trail as the guard has seen.
        environ[self._resource.id_variable] = request_id
        environ[PASSED] = {IDENTITY: identity, self._resource.id_variable: request_id}
        return None

    def _identity(self, environ: dict[str, Any], request_id: str) -> Identity | None:
        """Return who sends a request; raises _Refused. On the I/O thread, a guard that waits ends this run."""
        if self._guards.wait:
            try:
                environ.get(ENTER, wait_here)(_POOL)
            except TsaError:
                raise _busy() from None
            if environ.get(QUEUED_SECONDS, 0.0) > self._queue_seconds:
                raise _busy()
            environ[BEGINS_HERE] = True
        declared = environ.get("CONTENT_LENGTH") or ""
        request = GuardedRequest(
            method=environ["REQUEST_METHOD"],
            path=environ["PATH_INFO"],
            client_address=environ.get("REMOTE_ADDR") or "",
            request_id=request_id,
            content_length=int(declared) if declared.isascii() and declared.isdigit() and len(declared) < 19 else None,
            header=partial(header_of, environ),
            client_certificate=environ.get(CLIENT_CERTIFICATE, b""),
        )
        try:
            answer = self._guards.ask(request)
        except GuardFailed:
            raise _busy() from None
        if isinstance(answer, GuardRefusal):
            raise _Refused(HTTPStatus(answer.status), answer.text, answer.headers, answer.identity)
        return answer

    def _refuse(
        self, refused: _Refused, environ: dict[str, Any], start_response: Callable[..., Any], request_id: str
    ) -> Iterable[bytes]:
        status = refused.status
        if self._tracing is not None:
            self._tracing.begin(environ)
            path = environ["PATH_INFO"]
            self._tracing.end(environ, route=GUARD_ROUTE, path=path, code=str(status.value), request_id=request_id)
        body = error_body(status.value, str(refused))
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("cache-control", "no-store"),
            (self._id_header, request_id),
            *refused.headers.items(),
        ]
        start_response(f"{status.value} {status.phrase}", headers)
        return [body] if environ["REQUEST_METHOD"] != "HEAD" else []


def _busy() -> _Refused:
    return _Refused(HTTPStatus.SERVICE_UNAVAILABLE, _BUSY, {"Retry-After": "1"})
