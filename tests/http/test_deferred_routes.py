"""Falcon's routes come after the first token: whoever needs them gets them, once, and mistakes are not deferred."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_modules_of_commands import imported
from tests.serving import Parts, open_service, wsgi_environ
from tsa_core.api import PluginError, Route, RouteReply, RouteRequest, Routes
from tsa_core.http import create_app
from tsa_core.http.deferred_routes import DeferredRoutes
from tsa_core.testing import encode_request


def ask(app: Callable[..., Iterable[bytes]], body: bytes = b"", **variables: str) -> tuple[str, bytes]:
    answered: list[str] = []
    parts = app(wsgi_environ(body, **variables), lambda status, _headers: answered.append(status))
    return answered[0], b"".join(parts)


def test_a_token_needs_no_routes_and_the_first_other_request_makes_them() -> None:
    with open_service() as service:
        deferred = DeferredRoutes()
        app = create_app(service, deferred=deferred)
        assert ask(app, encode_request(b"first"))[0] == "200 OK"
        before = deferred.made
        assert ask(app, PATH_INFO="/ping", REQUEST_METHOD="GET") == ("200 OK", b".")
        assert (before, deferred.made) == (False, True)
        assert ask(app, PATH_INFO="/nowhere", REQUEST_METHOD="GET")[0] == "404 Not Found"


def test_routes_are_made_once_whoever_asks_for_them() -> None:
    made: list[int] = []
    both = threading.Barrier(2)

    def make() -> Callable[..., Iterable[bytes]]:
        made.append(1)
        return lambda _environ, _start: [b"made"]

    deferred = DeferredRoutes()
    deferred.make_later(make)
    answers: list[bytes] = []

    def request() -> None:
        both.wait(60)
        answers.extend(deferred({}, lambda *_: None))

    threads = [threading.Thread(target=request) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    deferred.prepare()
    assert (made, answers) == ([1], [b"made", b"made"])


def test_routes_that_cannot_be_made_are_logged_and_asked_for_again(caplog: pytest.LogCaptureFixture) -> None:
    outcomes: list[Any] = [ImportError("no module falcon"), lambda _environ, _start: [b"made"]]

    def make() -> Any:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    deferred = DeferredRoutes()
    deferred.make_later(make)
    with caplog.at_level(logging.ERROR):
        deferred.prepare()
    assert "cannot be made" in caplog.text
    assert "no module falcon" in caplog.text
    assert list(deferred({}, lambda *_: None)) == [b"made"]


class Twice(Routes):
    """Two paths that cannot both be routes."""

    def routes(self) -> list[Route]:
        def answer(_request: RouteRequest) -> RouteReply:
            return RouteReply()

        return [Route(path=path, answer=answer) for path in ("/x/{a}", "/x/{b}")]


def test_mistakes_of_plugins_paths_are_found_at_the_start() -> None:
    with open_service(Parts(routes=[Twice()])) as service:
        deferred = DeferredRoutes()
        with pytest.raises(PluginError, match="cannot have the path"):
            create_app(service, deferred=deferred)


def test_a_server_that_opens_has_imported_no_framework_and_no_engine_but_its_own(tmp_path: Path) -> None:
    program = "import tsa_core.cli.serve, tsa_core.hosting.serving, tsa_core.logs, tsa_core.cli.reference_settings"
    modules = imported(tmp_path, "-c", program)
    assert modules.isdisjoint({"falcon", "asyncio", "granian", "tsa_core.hosting.granian.listeners", "structlog"})
    assert "tsa_core.hosting.waitress.server" in modules
