"""The routes /ping, /healthz (is the process alive) and /readyz (can it issue timestamps)."""

from __future__ import annotations

import json

import falcon

from tsa_core.service import Service


class PingResource:
    """GET and HEAD /ping: a dot, as the reference system answers."""

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        """Answer."""
        response.content_type = "text/plain"
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
    """GET and HEAD /readyz: 200 while tokens can be issued and all checks are good, else 503; JSON with reasons."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        """Answer with what is known; on the I/O thread, so nothing may wait here."""
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
