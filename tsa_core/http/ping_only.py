"""`http_ping_only`: without TLS nothing but /ping is answered."""

from __future__ import annotations

import falcon

PING_ONLY = b"http server supports only the /ping entrypoint"


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
