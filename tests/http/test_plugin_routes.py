"""Paths of plugins: answered beside the core's, and no mistake of a handler hurts a token."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cryptography import x509

from tests.serving import Parts, Server, TestSigner, TestSink, open_service, running_server, wsgi_environ
from tsa_core.api import (
    IMMUTABLE,
    AuthorityAccess,
    Route,
    RouteReply,
    RouteRequest,
    Routes,
)
from tsa_core.http import create_app
from tsa_core.http.observability import Observability
from tsa_core.http.thread_pools import ENTER, QUEUED_SECONDS, LeaveIoThread, leave_io_thread, wait_here
from tsa_core.testing import encode_request, wait_until
from tsa_core.verify import TrustStore, verify_response

STYLE = RouteReply(body=b"body {}", content_type="text/css", cache=IMMUTABLE, etag="abc")


class Portal(Routes):
    """Has a path for each thing that a handler can do."""

    def __init__(self) -> None:
        self.threads: set[str] = set()
        self.go = threading.Event()
        self.hanging = threading.Semaphore(0)
        self.access: AuthorityAccess

    def bind(self, access: AuthorityAccess) -> None:
        self.access = access

    def routes(self) -> Sequence[Route]:
        return [
            Route(path="/", answer=RouteReply(body=b"<!doctype html>", content_type="text/html; charset=utf-8")),
            Route(path="/portal/style.css", answer=STYLE),
            Route(path="/portal/echo/{name}/{rest:path}", answer=self._echo),
            Route(path="/portal/echo/{name}/{rest:path}", answer=self._length, methods=("POST",), max_body=1000),
            Route(path="/portal/stamp/{profile}", answer=self._stamp, methods=("POST",)),
            Route(path="/portal/raise", answer=self._raise),
            Route(path="/portal/exit", answer=self._exit),
            Route(path="/portal/none", answer=lambda _request: None),  # type: ignore[arg-type,return-value] # the mistake
            Route(path="/portal/hang", answer=self._hang),
        ]

    def _echo(self, request: RouteRequest) -> RouteReply:
        self.threads.add(threading.current_thread().name)
        text = f"{request.parameters['name']} {request.parameters['rest']} {request.query} {request.base_url}"
        return RouteReply(body=text.encode(), headers={"X-Seen": request.header("X-Sent") or "none"})

    def _length(self, request: RouteRequest) -> RouteReply:
        return RouteReply(status=202, body=b"%d" % len(request.body))

    def _stamp(self, request: RouteRequest) -> RouteReply:
        profile = request.parameters["profile"]
        try:
            return RouteReply(body=self.access.issue(request.body, request, profile=profile), content_type="x/y")
        except LookupError as error:
            return RouteReply(status=404, body=str(error).encode())

    def _raise(self, _request: RouteRequest) -> RouteReply:
        raise ValueError("no\nsuch thing")

    def _exit(self, _request: RouteRequest) -> RouteReply:
        raise SystemExit(3)

    def _hang(self, _request: RouteRequest) -> RouteReply:
        self.hanging.release()
        self.go.wait()
        return RouteReply(body=b"at last")


@pytest.fixture(scope="module")
def portal() -> Portal:
    return Portal()


@pytest.fixture(scope="module")
def sink() -> TestSink:
    return TestSink()


@pytest.fixture(scope="module", params=["waitress", "granian"])
def server(request: pytest.FixtureRequest, portal: Portal, sink: TestSink) -> Iterator[Server]:
    parts = Parts(routes=[portal], sinks=[sink])
    with running_server(parts, profiles={"other": {}}, engine=request.param) as running:
        yield running


def test_constant_replaces_the_cores_page_and_posting_there_still_stamps(server: Server) -> None:
    page = server.request("GET", "/")
    assert page.body == b"<!doctype html>"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert page.headers["cache-control"] == "no-store"
    assert server.post(encode_request(), path="/").headers["content-type"] == "application/timestamp-reply"


def test_what_has_an_etag_is_not_sent_twice(server: Server) -> None:
    reply = server.request("GET", "/portal/style.css")
    assert (reply.status, reply.body, reply.headers["content-type"]) == (200, b"body {}", "text/css")
    assert reply.headers["cache-control"] == IMMUTABLE
    assert reply.headers["x-content-type-options"] == "nosniff"
    again = server.request("GET", "/portal/style.css", headers={"If-None-Match": reply.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    head = server.request("HEAD", "/portal/style.css")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "7")


def test_handler_gets_the_request_and_runs_in_a_thread_of_its_own(server: Server, portal: Portal) -> None:
    reply = server.request(
        "GET", "/portal/echo/a%20b/x001/067?q=1&q=2&r=%C3%A9", headers={"X-Sent": "y", "Host": "h:1"}
    )
    assert reply.body.decode() == "a b x001/067 {'q': '1', 'r': '\u00e9'} http://h:1"
    assert reply.headers["x-seen"] == "y"
    assert reply.headers["x-request-id"]
    assert portal.threads == {"plugin-call"}


def test_body_has_the_limit_of_its_route(server: Server) -> None:
    path = "/portal/echo/a/b"
    assert server.post(bytes(1000), path=path).body == b"1000"
    assert server.post(bytes(1001), path=path).status == 413
    assert server.request("PUT", path).status == 405
    assert server.request("GET", "/portal/nothing").status == 404


def test_route_issues_a_timestamp_that_is_audited(server: Server, sink: TestSink) -> None:
    query = encode_request(b"data")
    reply = server.post(query, path="/portal/stamp/other")
    chain = x509.load_pem_x509_certificates(server.request("GET", "/tsa/other/certchain").body)
    trust = TrustStore(roots=tuple(chain[-1:]), certificates=tuple(chain[:-1]))
    token = verify_response(reply.body, trust=trust, artifact=b"data", request=query)
    assert sink.records[-1].serial_number == token.tst_info.serial_number
    assert sink.records[-1].profile == "other"
    assert sink.records[-1].client_address == "127.0.0.1"
    assert server.post(query, path="/portal/stamp/nothing").status == 404


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/portal/raise", "ValueError: no such thing (test_plugin_routes.py:"),
        ("/portal/exit", "SystemExit: 3 (test_plugin_routes.py:"),
        ("/portal/none", "the handler returned None, not a RouteReply"),
    ],
)
def test_failure_is_500_and_one_line_that_names_the_plugin(
    server: Server, caplog: pytest.LogCaptureFixture, path: str, said: str
) -> None:
    reply = server.request("GET", path)
    assert reply.status == 500
    assert reply.json == {"code": 500, "message": "the server failed to answer; its log has the reason"}
    assert server.request("GET", path).status == 500
    [line] = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert f"the routes plugin 'routes0' (tests 0) failed at GET '{path}': {said}" in line
    assert server.service is not None
    server.service.routes[0].failures.flush(end=True)
    assert caplog.messages[-1].startswith("1 more requests failed in the last seconds and were not logged; the last: ")
    assert all(record.exc_info is None for record in caplog.records if record.levelno >= logging.ERROR)
    assert server.post(encode_request()).status == 200


@pytest.mark.parametrize("engine", ["waitress", "granian"])
@pytest.mark.parametrize("signer", ["local", "remote"])
def test_handlers_that_hang_stop_nothing_else(
    engine: str, signer: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal, other = Portal(), Echo()
    key = TestSigner()
    monkeypatch.setattr(key, "latency", signer)
    parts = Parts(routes=[portal, other], signers={"p256": key})
    with running_server(parts, engine=engine, threads=4, tables={"routes": {"handler_timeout": "200ms"}}) as server:
        try:
            with ThreadPoolExecutor(8) as pool:
                hung = [pool.submit(server.request, "GET", "/portal/hang") for _ in range(8)]
                assert portal.hanging.acquire(timeout=30)
                assert server.post(encode_request()).headers["content-type"] == "application/timestamp-reply"
                assert server.request("GET", "/ping").body == b"."
                assert server.request("GET", "/other").body == b"here"
                replies = [future.result(30) for future in hung]
            assert {reply.status for reply in replies} == {503}
            assert {reply.headers["retry-after"] for reply in replies} == {"1"}
            lines = [r.getMessage() for r in caplog.records if "has not returned within 0.2 s" in r.getMessage()]
            assert lines == ["the routes plugin 'routes0' (tests 0) has not returned within 0.2 s"]
            assert server.request("GET", "/readyz").status == 200
        finally:
            portal.go.set()
        wait_until(
            lambda: server.request("GET", "/portal/hang").body == b"at last",
            seconds=30,
            what="the plugin answers again",
        )


class Echo(Routes):
    """One handler that always answers."""

    def routes(self) -> Sequence[Route]:
        return [Route(path="/other", answer=lambda _request: RouteReply(body=b"here"))]


def test_handler_leaves_the_io_thread_and_a_constant_does_not() -> None:
    with open_service(Parts(routes=[Portal()])) as service:
        app = create_app(service)
        statuses: list[str] = []

        def get(path: str, **variables: Any) -> None:
            environ = wsgi_environ(b"", REQUEST_METHOD="GET", PATH_INFO=path) | {ENTER: leave_io_thread, **variables}
            app(environ, lambda status, *_: statuses.append(status))

        get("/portal/style.css")
        with pytest.raises(LeaveIoThread) as caught:
            get("/portal/echo/a/b")
        assert caught.value.pool == "routes routes0"
        get("/portal/echo/a/b", **{ENTER: wait_here, QUEUED_SECONDS: float("inf")})
    assert statuses == ["200 OK", "503 Service Unavailable"]


def test_metrics_and_access_log_know_the_route_by_its_template(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts(routes=[Portal()])
    tables = {"metrics": {"enabled": False}, "log": {"access": True}}
    with open_service(parts, tables=tables) as service, Observability(service.settings, forks=False) as observability:
        middleware = observability.middleware(service)
        assert middleware is not None
        ended: list[dict[str, object]] = []
        end = middleware.end

        def note(environ: dict[str, Any], **facts: Any) -> None:
            ended.append(facts)
            end(environ, **facts)

        monkeypatch.setattr(middleware, "end", note)
        app = create_app(service, middleware)
        statuses: list[str] = []
        for number in range(3):
            environ = wsgi_environ(b"", REQUEST_METHOD="GET", PATH_INFO=f"/portal/echo/{number}/b")
            assert b"".join(app(environ, lambda status, *_: statuses.append(status)))
        observability.flush()
    assert statuses == ["200 OK"] * 3
    assert {facts["route"] for facts in ended} == {"/portal/echo/{name}/{rest:path}"}
    assert all(facts["request_id"] for facts in ended)
