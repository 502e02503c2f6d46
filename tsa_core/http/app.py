"""Makes the WSGI application: guards, the fast path, CORS, and Falcon's routes behind them."""

from __future__ import annotations

from tsa_core.http.cors import with_cors
from tsa_core.http.deferred_routes import DeferredRoutes
from tsa_core.http.fast_path import with_fast_path
from tsa_core.http.guarding import with_guards
from tsa_core.http.observability import RequestTracingMiddleware
from tsa_core.http.timestamp import TimestampResource
from tsa_core.http.wsgi_types import WsgiApplication
from tsa_core.service import Service


def create_app(
    service: Service, tracing: RequestTracingMiddleware | None = None, *, deferred: DeferredRoutes | None = None
) -> WsgiApplication:
    """Return the WSGI application of an opened service; the caller closes the service and the tracing.

    With `deferred`, Falcon's routes are made later, unless plugins have routes: their mistakes prevent a start.
    """
    settings = service.settings.server
    timestamps = TimestampResource(service.authority, settings)

    def make_routes() -> WsgiApplication:
        from tsa_core.http.routes import falcon_app

        return falcon_app(service, timestamps, tracing)

    if deferred is None or service.routes:
        routes = make_routes()
    else:
        deferred.make_later(make_routes)
        routes = deferred
    served = with_cors(routes, post_varies=settings.rejections == "sigstore")
    fast = with_fast_path(served, settings, timestamps, tracing)
    return with_guards(fast, service.guards, timestamps, tracing, queue_seconds=settings.queue_timeout.total_seconds())
