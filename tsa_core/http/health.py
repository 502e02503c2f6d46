"""The routes /ping, /healthz (is the process alive) and /readyz (can it issue timestamps)."""

from __future__ import annotations

import json

import falcon

from tsa_core.api import RequestRejected
from tsa_core.http.thread_pools import ENTER, wait_here
from tsa_core.service import Service


class PingResource:
    """GET and HEAD /ping: a dot, as the reference system answers."""

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        """Answer."""
        response.content_type = falcon.MEDIA_TEXT
        response.data = b"."

    on_head = on_get


class HealthResource:
    """GET and HEAD /healthz: the process answers HTTP."""

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        """Answer."""
        response.set_header("Cache-Control", "no-store")
        response.data = b'{"status": "ok"}'

    on_head = on_get


class ReadinessResource:
    """GET and HEAD /readyz: 200 when signers, clock and all checks are usable, else 503; JSON with reasons."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Run all checks and answer."""
        if self._service.waiting_profiles:
            try:
                request.env.get(ENTER, wait_here)("readyz")  # a trial signature may wait for a backend
            except RequestRejected as rejection:
                raise falcon.HTTPServiceUnavailable(description=rejection.text) from None
        checks = self._service.readiness()
        ready = all(check.healthy for check in checks)
        response.status = falcon.HTTP_200 if ready else falcon.HTTP_503
        response.set_header("Cache-Control", "no-store")
        response.data = json.dumps(
            {
                "ready": ready,
                "checks": [
                    {
                        "name": check.name,
                        "healthy": check.healthy,
                        **({"reason": check.reason} if check.reason else {}),
                    }
                    for check in checks
                ],
            }
        ).encode("utf-8")

    on_head = on_get
