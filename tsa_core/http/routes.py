"""Makes the Falcon application: routes and error handlers.

Only what a request or the server's first quiet moment asks for imports this module (deferred_routes.py).
"""

from __future__ import annotations

import logging
from http import HTTPStatus

import falcon

from tsa_core.api import PluginError
from tsa_core.http import sigstore_mode
from tsa_core.http.certchain import CertificateChainResource, TrustedRootResource
from tsa_core.http.errors import error_body
from tsa_core.http.fast_path import ROUTE
from tsa_core.http.health import HealthResource, PingResource, ReadinessResource
from tsa_core.http.observability import RequestTracingMiddleware
from tsa_core.http.openapi import openapi_document, swagger_document
from tsa_core.http.ping_only import PingOnlyMiddleware
from tsa_core.http.plugin_routes import plugin_resources
from tsa_core.http.timestamp import TimestampResource
from tsa_core.http.timestamp_route import AliasRoute, TimestampRoute
from tsa_core.http.web_pages import DescriptionResource, DocsResource, LandingResource, Pages, RootResource
from tsa_core.http.wsgi_types import WsgiApplication
from tsa_core.service import Service

log = logging.getLogger(__name__)

_MAX_PATH = 256
"""Characters of a path that an error repeats."""


def falcon_app(
    service: Service, timestamps: TimestampResource, tracing: RequestTracingMiddleware | None
) -> WsgiApplication:
    """Return the application with all routes; raises PluginError for a plugin's path that cannot be one."""
    app: falcon.App[falcon.Request, falcon.Response] = falcon.App(middleware=[tracing] if tracing else None)
    app.req_options.strip_url_path_trailing_slash = True
    as_sigstore = service.settings.server.rejections == "sigstore"
    if as_sigstore:
        app.add_middleware(sigstore_mode.ReferenceRouting())
    if service.settings.server.http_ping_only:
        app.add_middleware(PingOnlyMiddleware())
    app.set_error_serializer(sigstore_mode.serialize_error if as_sigstore else _serialize_error)
    app.add_error_handler(Exception, _unexpected)

    routes = [route for opened in service.routes for route in opened.routes]
    timestamp = TimestampRoute(timestamps, json_rejections=as_sigstore, routes=routes)
    chain = CertificateChainResource(service)
    app.add_route(ROUTE, timestamp)
    app.add_route("/api/v1/timestamp/certchain", chain)
    app.add_route("/api/v1/timestamp/trusted_root.json", TrustedRootResource(service))
    app.add_route("/tsa/{profile}", timestamp)
    app.add_route("/tsa/{profile}/certchain", chain)
    app.add_route("/ping", PingResource())
    app.add_route("/healthz", HealthResource())
    app.add_route("/readyz", ReadinessResource(service))

    pages = Pages()
    resources = plugin_resources(service, timestamps)
    root = resources.pop("/", None)
    app.add_route("/", RootResource(root.on_get if root else LandingResource(service, pages).on_get, timestamp))
    app.add_route("/docs", DocsResource(pages))
    app.add_route("/openapi.json", DescriptionResource(openapi_document()))
    app.add_route("/swagger.json", DescriptionResource(swagger_document()))
    for name, profile in service.authority.profiles.items():
        for path in profile.settings.paths:
            app.add_route(path, AliasRoute(timestamp, name))
    for path, resource in resources.items():
        try:
            app.add_route(path, resource)
        except ValueError as error:
            raise PluginError(f"{resource.what} cannot have the path {path}: {error}") from None
    return app


def _serialize_error(request: falcon.Request, response: falcon.Response, error: falcon.HTTPError) -> None:
    message = error.description or HTTPStatus(error.status_code).phrase
    if error.status_code == HTTPStatus.NOT_FOUND and error.description is None:
        message = f"there is nothing at {request.path[:_MAX_PATH]}; timestamps are issued by POST to {ROUTE}"
    response.content_type = falcon.MEDIA_JSON
    response.data = error_body(error.status_code, message)


def _unexpected(
    request: falcon.Request, _response: falcon.Response, error: Exception, _parameters: dict[str, str]
) -> None:
    if isinstance(error, falcon.HTTPError | falcon.HTTPStatus):
        raise error
    log.error("%s %s failed", request.method, request.path, exc_info=error)
    raise falcon.HTTPInternalServerError(description="the server failed to answer; its log has the reason")
