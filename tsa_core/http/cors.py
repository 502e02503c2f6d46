"""Cross-origin resource sharing (CORS): pages of any site may call the API."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tsa_core.http.wsgi_types import WsgiApplication

_METHODS = "GET, POST, HEAD"
_HEADERS = "accept, content-type, x-requested-with"
_ALLOWED_METHODS = frozenset(_METHODS.split(", "))
_READABLE = _ALLOWED_METHODS | {"OPTIONS"}
_ALLOWED_HEADERS = frozenset(_HEADERS.split(", "))
_EVERYBODY = ("Access-Control-Allow-Origin", "*")
_PREFLIGHT_SECONDS = "86400"
_VARIES: tuple[tuple[str, str], ...] = (("Vary", "Origin"),)
_NOTHING: tuple[tuple[str, str], ...] = ()


def with_cors(app: WsgiApplication, *, post_varies: bool) -> WsgiApplication:
    """Return `app` with CORS before it. Every origin is allowed: all replies are public, and no cookie is used.

    Replies say that they vary with the origin: else a cache could give a page the reply to a request that had no
    Origin, which the browser would keep from the page. Those to a POST are never stored, and say it only when
    `post_varies` is set, as the reference does.
    """

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        if method == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ:
            start_response("204 No Content", _preflight(environ))
            return []
        added = _VARIES if post_varies or method != "POST" else _NOTHING
        if "HTTP_ORIGIN" in environ and method in _READABLE:
            added = (*added, _EVERYBODY)

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            return start_response(status, [*headers, *added], *exc_info)

        return app(environ, start)

    return application


def _preflight(environ: dict[str, Any]) -> list[tuple[str, str]]:
    headers = [("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")]
    wanted = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "").lower()
    names = {name.strip() for name in wanted.split(",") if name.strip()}
    method = environ["HTTP_ACCESS_CONTROL_REQUEST_METHOD"]
    if "HTTP_ORIGIN" in environ and method in _ALLOWED_METHODS and names <= _ALLOWED_HEADERS:
        headers += [
            _EVERYBODY,
            ("Access-Control-Allow-Methods", _METHODS),
            ("Access-Control-Allow-Headers", _HEADERS),
            ("Access-Control-Max-Age", _PREFLIGHT_SECONDS),
        ]
    return headers
