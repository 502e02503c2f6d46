"""Paths that two want are refused at the start, by the names of both; so are settings without an effect."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.serving import Parts, open_service
from tsa_core.api import ConfigError, PluginError, Route, RouteReply, RouteRequest, Routes
from tsa_core.config import load_settings


class Paths(Routes):
    """Adds routes that it is given."""

    def __init__(self, *routes: Route | str) -> None:
        self._routes = [Route(path=each, answer=RouteReply()) if isinstance(each, str) else each for each in routes]

    def routes(self) -> Sequence[Route]:
        return self._routes


def answer(_request: RouteRequest) -> RouteReply:
    return RouteReply()


def refusal(*plugins: Paths, **profile: object) -> str:
    with pytest.raises((ConfigError, PluginError)) as caught:
        open_service(Parts(routes=plugins), profiles={"default": profile})
    (line,) = str(caught.value).splitlines()
    return line


@pytest.mark.parametrize(
    "path", ["/api", "/api/v2", "/tsa/other", "/ping", "/healthz/more", "/docs", "/openapi.json", "/swagger.json"]
)
def test_path_of_the_core_is_refused(path: str) -> None:
    line = refusal(Paths(path))
    assert f"the routes plugin 'routes0' (tests 0) wants the path {path}, and all below /" in line
    assert "is the core's; leave it out" in line


def test_path_that_begins_open_is_refused() -> None:
    assert "wants the path /{page:path}, which would take the core's own" in refusal(Paths("/{page:path}"))


def test_posting_to_the_root_stays_the_cores() -> None:
    line = refusal(Paths(Route(path="/", answer=answer, methods=("GET", "POST"))))
    assert "wants the path /, which has POST for clients that were given a bare host" in line


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/page", "/page"),
        ("/log/{origin}", "/log/checkpoint"),
        ("/log/{rest:path}", "/log/tile/0/x001/067"),
        ("/a/{x}/c", "/a/b/{y}"),
        ("/", "/"),
    ],
)
def test_path_that_two_plugins_want_names_both(one: str, other: str) -> None:
    line = refusal(Paths(one), Paths(other))
    assert line.startswith(
        "routes.plugins: the routes plugin 'routes0' (tests 0) and the routes plugin 'routes1' (tests 0)"
    )
    assert one in line
    assert other in line


@pytest.mark.parametrize(
    ("one", "other"), [("/log/{origin}/checkpoint", "/log/{origin}/tile"), ("/a/{x}", "/b/{x}"), ("/a/{x}", "/a")]
)
def test_paths_that_cannot_be_the_same_are_no_conflict(one: str, other: str) -> None:
    with open_service(Parts(routes=[Paths(one), Paths(other)])) as service:
        assert [each.name for each in service.routes] == ["routes0", "routes1"]


def test_further_path_of_a_profile_is_a_conflict() -> None:
    line = refusal(Paths("/signserver/{worker}"), paths=["/signserver/tsa"])
    assert "wants the path /signserver/{worker}, which is also /signserver/tsa of profiles.default.paths" in line


def test_one_plugin_may_not_answer_a_method_twice() -> None:
    assert "has the path /page twice" in refusal(Paths("/page", "/page"))


def test_limit_without_a_handler_has_no_effect() -> None:
    with pytest.raises(ConfigError, match=r"routes.handler_timeout.*no effect"):
        open_service(Parts(routes=[Paths("/page")]), tables={"routes": {"handler_timeout": "1s"}})
    with pytest.raises(ConfigError, match=r"handler_timeout has no effect, because plugins selects no plugin"):
        load_settings(overrides={"routes": {"handler_timeout": "1s"}}, environ={})


def test_plugin_that_is_listed_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="lists 'web' twice"):
        load_settings(overrides={"routes": {"plugins": ["web", "web"]}}, environ={})


@pytest.mark.parametrize(
    "path", ["", "page", "/page/", "//", "/a b", "/{}", "/{A}", "/{x}/{x}", "/{x:path}/y", "/a/../{y}%", "/\u00e9"]
)
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be a path|has a name twice"):
        Route(path=path, answer=RouteReply())


@pytest.mark.parametrize("takes", ["text/plain", ["text"], ["Text/Plain"], ["text/plain; charset=utf-8"]])
def test_what_is_no_media_type_is_refused(takes: Sequence[str]) -> None:
    with pytest.raises(ValueError, match="is no list of media types in small letters"):
        Route(path="/page", answer=RouteReply(), takes=takes)


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": 99},
        {"status": True},
        {"body": "text"},
        {"headers": {"X-Name": "a\r\nSet-Cookie: b"}},
        {"headers": {"X Name": "a"}},
        {"headers": {"Set-Cookie": "a=b"}},
        {"headers": {"Transfer-Encoding": "chunked"}},
        {"content_type": "text/html\n"},
        {"cache": "\x00"},
        {"etag": 'a"b'},
    ],
)
def test_what_cannot_be_sent_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"status|body|header|ETag"):
        RouteReply(**wrong)  # type: ignore[arg-type] # the mistake


@pytest.mark.parametrize("wrong", [{"methods": ()}, {"methods": ("PUT",)}, {"answer": "text"}])
def test_what_is_no_route_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"methods|answer"):
        Route(**{"path": "/page", "answer": answer, **wrong})  # type: ignore[arg-type] # the mistake
