"""What stands before the resources: replies to browsers of other origins, and the silence of plain HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import falcon

Wsgi: TypeAlias = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

PING_ONLY = b"http server supports only the /ping entrypoint"

_METHODS = "GET, POST, HEAD"
_HEADERS = "accept, content-type, x-requested-with"
_ALLOWED_METHODS = frozenset(_METHODS.split(", "))
_ALLOWED_HEADERS = frozenset(_HEADERS.split(", "))
_EVERYBODY = ("Access-Control-Allow-Origin", "*")
_PREFLIGHT_SECONDS = "86400"


def put_front(app: Wsgi) -> Wsgi:
    """Return `app` with CORS before it.

    A request of a timestamp client, which has no Origin, pays for one look into a dict and one call.
    """

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if "HTTP_ORIGIN" in environ:
            return _cross_origin(app, environ, start_response)
        return app(environ, start_response)

    return application


class PingOnlyMiddleware:
    """Falcon middleware for `http_ping_only`: without TLS nothing but /ping is answered.

    It stands behind the one that observes, so that whoever is refused is counted and logged.
    """

    def process_request(self, request: falcon.Request, response: falcon.Response) -> None:
        """Refuse, or do nothing."""
        if request.scheme != "https" and request.path != "/ping":
            response.status = falcon.HTTP_404
            response.content_type = "text/plain"
            response.data = PING_ONLY
            response.complete = True


def _cross_origin(app: Wsgi, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer a browser that asks on behalf of another site: everything here is public, and knows no cookies."""
    if environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ:
        start_response("204 No Content", _preflight(environ))
        return []

    def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
        return start_response(status, [*headers, _EVERYBODY], *exc_info)

    return app(environ, start)


def _preflight(environ: dict[str, Any]) -> list[tuple[str, str]]:
    headers = [("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")]
    wanted = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "").lower()
    names = {name.strip() for name in wanted.split(",") if name.strip()}
    if environ["HTTP_ACCESS_CONTROL_REQUEST_METHOD"] in _ALLOWED_METHODS and names <= _ALLOWED_HEADERS:
        headers += [
            _EVERYBODY,
            ("Access-Control-Allow-Methods", _METHODS),
            ("Access-Control-Allow-Headers", _HEADERS),
            ("Access-Control-Max-Age", _PREFLIGHT_SECONDS),
        ]
    return headers
