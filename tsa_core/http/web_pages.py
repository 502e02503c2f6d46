"""The pages / and /docs, and /openapi.json. They contain no script and no cookie, and load nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from string import Template
from typing import Any, TypeAlias

import falcon

from tsa_core import __version__
from tsa_core.api import ProfileReport
from tsa_core.api.fields import format_duration
from tsa_core.config import ServerSettings
from tsa_core.http.openapi import docs_page, openapi_document, read_page
from tsa_core.http.timestamp_route import TimestampRoute
from tsa_core.service import Service

_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?", re.ASCII
)
_NAMELESS = "this-server"

Responder: TypeAlias = Callable[..., None]
"""Answers a falcon.Request by filling in a falcon.Response."""


class Pages:
    """The common parts of the pages: the style, and a Content-Security-Policy that allows that style only."""

    def __init__(self) -> None:
        self.style = read_page("style.css").strip()
        digest = base64.b64encode(hashlib.sha256(self.style.encode("utf-8")).digest()).decode("ascii")
        self._policy = (
            f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )

    def send(self, response: falcon.Response, page: str, *, cache: str) -> None:
        """Answer with a page."""
        response.content_type = "text/html; charset=utf-8"
        response.set_headers(
            {
                "Content-Security-Policy": self._policy,
                "Cache-Control": cache,
                "Referrer-Policy": "no-referrer",
                "X-Content-Type-Options": "nosniff",
            }
        )
        response.data = page.encode("utf-8")


class LandingResource:
    """GET and HEAD /: what the service is, how to use it, and its profiles.

    The address in the examples is `public_url`, else that of the request's Host header. The header's value is checked
    and escaped, and the page is never cached, so no other client gets it.
    """

    def __init__(self, service: Service, pages: Pages) -> None:
        self._service = service
        self._pages = pages
        self._template = Template(read_page("landing.html"))

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Answer."""
        profiles = self._service.access.profiles()
        page = self._template.substitute(
            style=self._pages.style,
            state=_state(profiles),
            state_class="bad" if any(profile.stopped_by for profile in profiles) else "good",
            url=escape(address(request, self._service.settings.server)),
            base=".",
            profiles="\n".join(map(_row, profiles)),
            clock=escape(self._service.access.clock().text),
            version=escape(__version__),
        )
        self._pages.send(response, page, cache="no-store")

    on_head = on_get


def address(request: falcon.Request, settings: ServerSettings) -> str:
    """Return this server's address as the client sees it; an invalid Host header is not used."""
    if public := settings.public_url:
        return public.rstrip("/")
    given = request.env.get("HTTP_HOST") or ""
    host = given if _HOST.fullmatch(given) else _NAMELESS
    return f"{'https' if request.env['wsgi.url_scheme'] == 'https' else 'http'}://{host}"


def _state(profiles: Sequence[ProfileReport]) -> str:
    """Return a sentence that says whether the profiles issue, and what stops those that do not."""
    reasons = dict.fromkeys(reason for profile in profiles for reason in profile.stopped_by)
    if not reasons:
        return "It issues timestamps."
    every = all(profile.stopped_by for profile in profiles)
    words = "It cannot issue timestamps now." if every else "Some of its profiles cannot issue now."
    return " ".join([words, *reasons])


def _row(profile: ProfileReport) -> str:
    """Return a profile's row of the table."""
    note = "<br>cannot issue now" if profile.stopped_by else ""
    policies = "<br>".join(f"<code>{escape(policy)}</code>" for policy in profile.policies)
    return (
        f'<tr><td><a href=".{escape(profile.path)}/certchain">{escape(profile.name)}</a>{note}</td>'
        f"<td>{escape(profile.subject)}<br>until {profile.not_after:%Y-%m-%d}, "
        f"{escape(profile.algorithm)}</td><td>{policies}</td>"
        f"<td>{'not stated' if profile.accuracy is None else escape(format_duration(profile.accuracy))}</td></tr>"
    )


class RootResource:
    """/: the page to look at, and POST for clients that were given a bare host, as the default route answers it.

    The page is what `page` answers, a plugin's for example.
    """

    def __init__(self, page: Responder, timestamp: TimestampRoute) -> None:
        self.on_get = self.on_head = page
        self.on_post = timestamp.on_post


class DocsResource:
    """GET and HEAD /docs: the API's description as a page."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._page = docs_page(openapi_document(), style=pages.style)

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        """Answer."""
        self._pages.send(response, self._page, cache="public, max-age=3600")

    on_head = on_get


class DescriptionResource:
    """GET and HEAD of a JSON document that describes the API: OpenAPI 3.1, or Swagger 2.0 with the same ids."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8")

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        """Answer."""
        response.content_type = falcon.MEDIA_JSON
        response.set_header("Cache-Control", "public, max-age=3600")
        response.data = self._document

    on_head = on_get
