"""The demands of tsa-core on every routes plugin, and what the page says without a browser."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

from tsa_core.api import IMMUTABLE, AuthorityAccess, ProfileReport, Provider, Route, RouteRequest, Routes
from tsa_core.testing import ProviderContract, RoutesContract, SampleAccess, sample_route_request
from tsa_web import plugin as web_plugin
from tsa_web.options import WebOptions
from tsa_web.pages import WebPages


class TestWebProvider(ProviderContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return web_plugin

    @pytest.fixture
    def distribution_name(self) -> str:
        return "tsa-web"


class TestWebRoutes(RoutesContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return web_plugin

    @pytest.fixture
    def page(self, routes: Sequence[Route]) -> str:
        [root] = [route for route in routes if route.path == "/"]
        return self.ask(root, RouteRequest(base_url="https://tsa.example.org")).body.decode()

    def test_page_has_no_script_or_style_of_its_own_and_nothing_from_elsewhere(
        self, page: str, routes: Sequence[Route]
    ) -> None:
        outline = Outline(page)
        assert outline.unclosed == []
        for tag, attributes in outline.seen:
            assert not [name for name in attributes if name.startswith("on") or name == "style"]
            assert tag != "style"
        loaded = {value for _, attributes in outline.seen for name, value in attributes.items() if name == "src"}
        links = {a["href"] for tag, a in outline.seen if tag == "link"}
        assert {f".{route.path}" for route in routes} >= loaded | links
        assert not re.findall(r"(?:href|src)=\"(?!\./|#)", page)

    def test_what_is_loaded_may_be_kept_for_ever_and_the_page_never(self, routes: Sequence[Route]) -> None:
        caches = {route.path: self.ask(route, sample_route_request(route)).cache for route in routes}
        assert caches["/"] == "no-store"
        assert {cache for path, cache in caches.items() if re.match(r"/web/[0-9a-f]{16}/", path)} == {IMMUTABLE}

    def test_policy_allows_no_inline_script(self, routes: Sequence[Route]) -> None:
        [root] = [route for route in routes if route.path == "/"]
        policy = self.ask(root, RouteRequest()).headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
        assert "unsafe" not in policy

    def test_page_tells_the_address_and_the_root(
        self, page: str, routes: Sequence[Route], access: AuthorityAccess
    ) -> None:
        assert "https://tsa.example.org/api/v1/timestamp" in page
        [roots] = [route for route in routes if route.path == "/web/roots/{file}"]
        reply = self.ask(roots, sample_route_request(roots, parameter="default.pem"))
        [profile] = access.profiles()
        assert profile.certificate_chain.endswith(reply.body)
        assert reply.headers["Content-Disposition"] == 'attachment; filename="default-root.pem"'
        assert reply.etag in re.sub(r"<wbr>|</?span>", "", page)


class Outline(HTMLParser):
    """The tags of a page with their attributes, and those that are not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.unclosed: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "img", "input", "br", "wbr"}:
            self.unclosed.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.unclosed.pop() == tag


class OtherProfiles(SampleAccess):
    """An authority whose profiles a test has changed."""

    def __init__(self, folder: Path, *changes: dict[str, object]) -> None:
        super().__init__(folder)
        self._changes = changes

    def profiles(self) -> Sequence[ProfileReport]:
        [one] = super().profiles()
        return [replace(one, **change) for change in self._changes]  # type: ignore[arg-type] # as the test says


@pytest.fixture
def shown(tmp_path: Path) -> Callable[..., str]:
    """Return a function that returns the page of an authority with changed profiles."""

    def show(*changes: dict[str, object], **options: str) -> str:
        pages = WebPages(WebOptions(**options))
        pages.bind(OtherProfiles(tmp_path, *changes))
        answer = next(route.answer for route in pages.routes() if route.path == "/")
        assert callable(answer)
        return answer(RouteRequest(base_url="http://x/<y>")).body.decode()

    return show


def test_every_value_is_escaped(shown: Callable[..., str]) -> None:
    page = shown(
        {"subject": "CN=<b>&", "name": "d", "stopped_by": ("<i>",)}, title="<title>", operator='"</footer><script>'
    )
    assert not re.search(r"<b>|<i>|<script>|<y>|<title><title>", page)
    assert "CN=&lt;b&gt;&amp;" in page


@pytest.mark.parametrize(
    ("stopped", "said"),
    [
        ([(), ()], "Issuing timestamps"),
        ([("The signer cannot sign.",), ()], "Some profiles are not issuing now"),
        ([("The signer cannot sign.",), ("The signer cannot sign.",)], "Not issuing now"),
    ],
)
def test_state_is_told_without_a_script(shown: Callable[..., str], stopped: list[tuple[str, ...]], said: str) -> None:
    page = shown(
        *({"name": name, "stopped_by": each} for name, each in zip(("default", "other"), stopped, strict=True))
    )
    assert f"</span>{said}</p>" in page
    assert page.count("The signer cannot sign.") == (1 if any(stopped) else 0)
    assert "Profile other" in page


def test_accuracy_that_is_not_stated_is_said(shown: Callable[..., str]) -> None:
    assert "<dt>Accuracy</dt><dd>not stated</dd>" in shown({"accuracy": None})


def test_provider_opens_the_pages() -> None:
    [provider] = web_plugin.tsa_routes()
    assert isinstance(provider, Provider)
    assert isinstance(provider.open(WebOptions()), Routes)
