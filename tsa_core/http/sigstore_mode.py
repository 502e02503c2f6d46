"""What `[server] rejections = "sigstore"` changes beside the refusals: the reference's texts, headers and routing."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlsplit

import falcon

from tsa_core.http.timestamp import REPLY_TYPE

NO_CACHE: Final = {
    "Cache-Control": "no-cache, no-store, no-transform, must-revalidate, private, max-age=0",
    "Expires": "Thu, 01 Jan 1970 00:00:00 GMT",
    "Pragma": "no-cache",
    "X-Accel-Expires": "0",
}
CHAIN_CACHE: Final = "max-age=86400, immutable"
_BODY_REQUIRED: Final = 602
"""The code that the reference's framework puts into its JSON for a missing body; the HTTP status is 422."""
_PING: Final = "/ping"
_UNCHANGED: Final = "/!$&'()*+,;=:@-._~"
"""What Go leaves as it is in a path."""


class RefusedTimestamp(falcon.HTTPError):
    """An error of the route that issues timestamps; the reference sends it with the media type of a reply."""


def body_required() -> falcon.HTTPError:
    """Return the error for a request without a body."""
    return falcon.HTTPUnprocessableEntity(description="request in body is required", code=_BODY_REQUIRED)


def has_body(environ: Mapping[str, Any]) -> bool:
    """Return whether a request announces a body; one that does not is refused for that, whatever its media type."""
    length = environ.get("CONTENT_LENGTH")
    return length.strip("0") != "" if length else bool(environ.get("wsgi.input_terminated"))


def serialize_error(request: falcon.Request, response: falcon.Response, error: falcon.HTTPError) -> None:
    """Write an error in the reference's words."""
    message = error.description or HTTPStatus(error.status_code).phrase
    if error.status_code == HTTPStatus.NOT_FOUND:
        message = f"path {_path_as_sent(request)} was not found"
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        named = dict(error.headers or {}).get("Allow", "").split(", ")
        allowed = [method for method in named if method not in {"HEAD", "OPTIONS"}]
        response.set_header("Allow", ",".join(allowed))
        message = f"method {request.method} is not allowed, but [{','.join(allowed)}] are"
    response.content_type = REPLY_TYPE if isinstance(error, RefusedTimestamp) else falcon.MEDIA_JSON
    code = error.code if error.code is not None else error.status_code
    response.data = json.dumps({"code": code, "message": message}, separators=(",", ":")).encode("utf-8")


def _path_as_sent(request: falcon.Request) -> str:
    """Return the path with its escapes; not every WSGI server hands it over as it came."""
    sent: str | None = request.env.get("REQUEST_URI")
    path = urlsplit(sent).path if sent and not sent.startswith("//") else (sent or "").partition("?")[0]
    return path or quote(request.path, safe=_UNCHANGED)


class ReferenceRouting:
    """Falcon middleware: finds paths and methods as the reference does.

    /ping is found however it is written, for GET and HEAD alone. In other paths `//`, `/./` and `/../` are resolved.
    OPTIONS is a method like the others, unless it is a preflight.
    """

    def process_request(self, request: falcon.Request, _response: falcon.Response) -> None:
        """Put the path that there is in place of another spelling."""
        path = request.path
        if path.lower() == _PING:
            if request.method not in {"GET", "HEAD"}:
                raise falcon.HTTPNotFound
            request.path = _PING
        elif "//" in path or "/." in path or path.endswith("/"):
            request.path = "/" + posixpath.normpath(path).lstrip("/")

    def process_resource(
        self, request: falcon.Request, _response: falcon.Response, resource: object, _parameters: dict[str, Any]
    ) -> None:
        """Refuse OPTIONS, which Falcon would answer for a resource that does not."""
        if request.method == "OPTIONS" and not hasattr(resource, "on_options"):
            raise falcon.HTTPMethodNotAllowed(
                [name for name in ("GET", "POST") if hasattr(resource, f"on_{name.lower()}")]
            )
