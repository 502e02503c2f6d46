"""The setting `http_ping_only`."""

from __future__ import annotations

import falcon

PING_ONLY = b"http server supports only the /ping entrypoint"


class PingOnlyMiddleware:
    """Falcon middleware that refuses every request without TLS but /ping.

    It runs after the tracing middleware, so that refused requests are counted and logged.
    """

    def process_request(self, request: falcon.Request, response: falcon.Response) -> None:
        """Refuse a request without TLS, unless it is for /ping."""
        if request.scheme != "https" and request.path != "/ping":
            response.status = falcon.HTTP_404
            response.content_type = "text/plain"
            response.data = PING_ONLY
            response.complete = True
