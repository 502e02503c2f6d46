"""Cross-origin resource sharing (CORS): pages of any site may call the API."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tsa_core.http.wsgi_types import WsgiApplication

_METHODS = "GET, POST, HEAD"
_HEADERS = "accept, content-type, x-requested-with"
_ALLOWED_METHODS = frozenset(_METHODS.split(", "))
_ALLOWED_HEADERS = frozenset(_HEADERS.split(", "))
_EVERYBODY = ("Access-Control-Allow-Origin", "*")
_PREFLIGHT_SECONDS = "86400"


def with_cors(app: WsgiApplication) -> WsgiApplication:
    """Return `app` with CORS before it.

    A request without an Origin header, as timestamp clients send it, costs one dict lookup and one call more.
    """

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if "HTTP_ORIGIN" in environ:
            return _cross_origin(app, environ, start_response)
        return app(environ, start_response)

    return application


def _cross_origin(app: WsgiApplication, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer a cross-origin request. Every origin is allowed: all replies are public, and no cookie is used."""
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
