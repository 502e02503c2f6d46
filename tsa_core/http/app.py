"""Makes the WSGI application: routes, error handlers, CORS, the fast path and the guards."""

from __future__ import annotations

import logging
from http import HTTPStatus

import falcon

from tsa_core.api import PluginError
from tsa_core.http import sigstore_mode
from tsa_core.http.certchain import CertificateChainResource, TrustedRootResource
from tsa_core.http.cors import with_cors
from tsa_core.http.errors import error_body
from tsa_core.http.fast_path import ROUTE, with_fast_path
from tsa_core.http.guarding import with_guards
from tsa_core.http.health import HealthResource, PingResource, ReadinessResource
from tsa_core.http.observability import RequestTracingMiddleware
from tsa_core.http.openapi import openapi_document, swagger_document
from tsa_core.http.ping_only import PingOnlyMiddleware
from tsa_core.http.plugin_routes import plugin_resources
from tsa_core.http.timestamp import AliasResource, TimestampResource
from tsa_core.http.web_pages import DescriptionResource, DocsResource, LandingResource, Pages, RootResource
from tsa_core.http.wsgi_types import WsgiApplication
from tsa_core.service import Service

log = logging.getLogger(__name__)

_MAX_PATH = 256
"""Characters of a path that an error repeats."""


def create_app(service: Service, tracing: RequestTracingMiddleware | None = None) -> WsgiApplication:
    """Return the WSGI application of an opened service; the caller closes the service and the tracing."""
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
    timestamp = TimestampResource(service.authority, service.settings.server, routes=routes)
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
    resources = plugin_resources(service, timestamp)
    root = resources.pop("/", None)
    app.add_route("/", RootResource(root.on_get if root else LandingResource(service, pages).on_get, timestamp))
    app.add_route("/docs", DocsResource(pages))
    app.add_route("/openapi.json", DescriptionResource(openapi_document()))
    app.add_route("/swagger.json", DescriptionResource(swagger_document()))
    for name, profile in service.authority.profiles.items():
        for path in profile.settings.paths:
            app.add_route(path, AliasResource(timestamp, name))
    for path, resource in resources.items():
        try:
            app.add_route(path, resource)
        except ValueError as error:
            raise PluginError(f"{resource.what} cannot have the path {path}: {error}") from None
    settings = service.settings.server
    served = with_fast_path(with_cors(app, post_varies=as_sigstore), settings, timestamp, tracing)
    queue_seconds = settings.queue_timeout.total_seconds()
    return with_guards(served, service.guards, timestamp, tracing, queue_seconds=queue_seconds)


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
