"""What `[server] rejections = "sigstore"` changes beside the refusals: the reference's texts, headers and /PING."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Final

import falcon

NO_CACHE: Final = {
    "Cache-Control": "no-cache, no-store, no-transform, must-revalidate, private, max-age=0",
    "Expires": "Thu, 01 Jan 1970 00:00:00 GMT",
    "Pragma": "no-cache",
    "X-Accel-Expires": "0",
}
CHAIN_CACHE: Final = "max-age=86400, immutable"
_BODY_REQUIRED: Final = 602
"""The code that the reference's framework puts into its JSON for a missing body; the HTTP status is 422."""
_MAX_PATH: Final = 256


def body_required() -> falcon.HTTPError:
    """Return the error for a request without a body."""
    return falcon.HTTPUnprocessableEntity(description="request in body is required", code=_BODY_REQUIRED)


def serialize_error(request: falcon.Request, response: falcon.Response, error: falcon.HTTPError) -> None:
    """Write an error in the reference's words."""
    message = error.description or HTTPStatus(error.status_code).phrase
    if error.status_code == HTTPStatus.NOT_FOUND:
        message = f"path {request.path[:_MAX_PATH]} was not found"
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = [each for each in dict(error.headers or {}).get("Allow", "").split(", ") if each != "OPTIONS"]
        message = f"method {request.method} is not allowed, but [{' '.join(allowed)}] are"
    response.content_type = falcon.MEDIA_JSON
    code = error.code if error.code is not None else error.status_code
    response.data = json.dumps({"code": code, "message": message}, separators=(",", ":")).encode("utf-8")


class AnyCasePing:
    """Falcon middleware: /ping is found however it is written."""

    def process_request(self, request: falcon.Request, _response: falcon.Response) -> None:
        """Route any spelling to the one that there is."""
        if request.path.lower() == "/ping":
            request.path = "/ping"
