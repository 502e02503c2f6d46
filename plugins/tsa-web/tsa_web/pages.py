"""The paths: the page at /, what it loads, the authority's state as JSON, and roots to download."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

from tsa_core.api import IMMUTABLE, AuthorityAccess, Route, RouteReply, RouteRequest, Routes
from tsa_web.certificates import der_certificates, fingerprint, pem
from tsa_web.options import WebOptions
from tsa_web.page import PageWriter

_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "Referrer-Policy": "no-referrer",
}


class WebPages(Routes):
    """The page, made anew for each request, because it shows the authority's state without a script too."""

    def __init__(self, options: WebOptions) -> None:
        found = sorted((each for each in files("tsa_web").joinpath("assets").iterdir()), key=lambda each: each.name)
        self._assets = {each.name: each.read_bytes() for each in found if _suffix(each.name) in _TYPES}
        # One name for all: the scripts import each other by relative names, and no version meets another's.
        whole = hashlib.sha256(b"".join(self._assets.values())).hexdigest()[:16]
        self._folder = f"web/{whole}"
        template = files("tsa_web").joinpath("assets", "page.html").read_text(encoding="utf-8")
        self._page = PageWriter(template, options, self._folder)
        self._access: AuthorityAccess

    def bind(self, access: AuthorityAccess) -> None:
        """Learn how to reach the authority."""
        self._access = access

    def routes(self) -> Sequence[Route]:
        """Return the paths."""
        assets = [
            Route(
                path=f"/{self._folder}/{name}",
                answer=RouteReply(body=body, content_type=_TYPES[_suffix(name)], cache=IMMUTABLE),
            )
            for name, body in self._assets.items()
        ]
        return [
            Route(path="/", answer=self._show),
            Route(path="/web/state.json", answer=self._state),
            Route(path="/web/roots/{file}", answer=self._root),
            *assets,
        ]

    def _show(self, request: RouteRequest) -> RouteReply:
        page = self._page.write(self._access.profiles(), self._access.clock(), request.base_url)
        return RouteReply(body=page.encode(), content_type="text/html; charset=utf-8", headers=_HEADERS)

    def _state(self, _request: RouteRequest) -> RouteReply:
        """Return what the script needs to know: profiles, and the clock."""
        clock = self._access.clock()
        document: dict[str, Any] = {
            "profiles": [
                {
                    "name": profile.name,
                    "path": profile.path,
                    "stoppedBy": profile.stopped_by,
                }
                for profile in self._access.profiles()
            ],
            "clock": {"state": clock.state, "trusted": clock.trusted, "text": clock.text},
        }
        return RouteReply(body=json.dumps(document).encode(), content_type="application/json")

    def _root(self, request: RouteRequest) -> RouteReply:
        """Return a profile's root certificate as a PEM file, `default.pem` for example."""
        for profile in self._access.profiles():
            if request.parameters["file"] == f"{profile.name}.pem":
                root = der_certificates(profile.certificate_chain)[-1]
                return RouteReply(
                    body=pem(root),
                    content_type="application/x-pem-file",
                    etag=fingerprint(root),
                    headers={"Content-Disposition": f'attachment; filename="{profile.name}-root.pem"'},
                )
        return RouteReply(status=404, body=b"there is no such profile\n")


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]
