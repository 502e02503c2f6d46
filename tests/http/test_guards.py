"""Guards: who may pass, what a refused client gets, and that a broken guard lets nobody in."""

from __future__ import annotations

import http.client
import json
import logging
import threading
from asyncio import CancelledError
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import pytest

from tests.conformance.replies import granted, refused
from tests.serving import HttpReply, Parts, Server, TestSink, open_service, running_server
from tsa_core.api import (
    ConfigError,
    Guard,
    GuardedRequest,
    GuardRefusal,
    HealthStatus,
    Identity,
    Observer,
    PluginCrash,
    PolicySelector,
    ProfileSummary,
    RequestContext,
    RequestOutcome,
    Route,
    RouteReply,
    RouteRequest,
    Routes,
    TimeStampReq,
)
from tsa_core.config import load_settings
from tsa_core.http.app import create_app
from tsa_core.testing import encode_request, wait_until

BODY = encode_request(b"guarded")
ENGINES = ["waitress", "granian"]
BAD_REQUEST = "03020520"
UNACCEPTED_POLICY = "0303000001"
QUERY = {"Content-Type": "application/timestamp-query"}
ALICE = Identity(name="alice", tenant="acme", how="api-key")
KEYS = {"alice": ALICE, "bob": Identity(name="bob", how="api-key", profiles=frozenset({"other"}))}
NO_KEY = GuardRefusal(status=401, text="send X-API-Key", headers={"WWW-Authenticate": 'ApiKey realm="tsa"'})


class Keys(Guard):
    """Knows clients by the header X-API-Key; `answer` takes its place when it is set."""

    latency: Literal["local", "remote"] = "local"

    def __init__(self, latency: Literal["local", "remote"] = "local") -> None:
        self.latency = latency
        self.asked: list[GuardedRequest] = []
        self.answer: Callable[[], Any] | None = None

    def check(self, request: GuardedRequest) -> Identity | GuardRefusal | None:
        self.asked.append(request)
        if self.answer is not None:
            answer: Identity | GuardRefusal | None = self.answer()
            return answer
        return KEYS.get(request.header("X-API-Key") or "", NO_KEY)


def post(server: Server, key: str = "", path: str = "/api/v1/timestamp", **headers: str) -> HttpReply:
    return server.request("POST", path, BODY, {**QUERY, **({"X-API-Key": key} if key else {}), **headers})


def message(reply: HttpReply) -> str:
    assert reply.headers["content-type"] == "application/json"
    assert reply.json["code"] == reply.status
    return str(reply.json["message"])


@pytest.mark.parametrize("latency", ["local", "remote"])
@pytest.mark.parametrize("engine", ENGINES)
def test_who_has_a_key_gets_a_token_and_nobody_else(engine: str, latency: Literal["local", "remote"]) -> None:
    sink, guard = TestSink(), Keys(latency)
    with running_server(Parts(guards=[guard], sinks=[sink]), engine=engine) as server:
        reply = post(server)
        assert (reply.status, message(reply)) == (401, "send X-API-Key")
        assert reply.headers["www-authenticate"] == 'ApiKey realm="tsa"'
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["x-request-id"] == guard.asked[-1].request_id
        assert sink.records == []
        for path in ("/", "/api/v1/timestamp/certchain", "/nothing"):
            assert server.request("GET", path).status == 401
        for path in ("/ping", "/healthz", "/readyz"):
            assert server.request("GET", path).status == 200
        reply = post(server, "alice")
        granted(reply.body)
        assert reply.headers["x-request-id"] == sink.records[0].request_id == guard.asked[-1].request_id
    assert [record.identity for record in sink.records] == [ALICE]
    asked = guard.asked[-1]
    assert (asked.method, asked.path, asked.content_length) == ("POST", "/api/v1/timestamp", len(BODY))
    assert asked.client_address == "127.0.0.1"


@pytest.mark.parametrize("path", ["/api/v1/timestamp", "/tsa/default", "/"])
def test_a_client_may_use_its_profiles_alone(path: str) -> None:
    with running_server(Parts(guards=[Keys()]), profiles={"other": {}}) as server:
        refused(post(server, "bob", path).body, BAD_REQUEST)
        granted(post(server, "bob", "/tsa/other").body)
        document = {"artifactHash": "A" * 43 + "=", "hashAlgorithm": "sha256"}
        reply = server.request(
            "POST", path, json.dumps(document).encode(), {"Content-Type": "application/json", "X-API-Key": "bob"}
        )
        assert (reply.status, "bob" in message(reply)) == (400, False)


def test_a_client_gets_tokens_of_its_policies_alone() -> None:
    guard = Keys()
    policies = ["1.2.3.1", "1.2.3.2"]
    with running_server(Parts(guards=[guard]), profiles={"default": {"policies": policies}}) as server:
        for allowed, asked, failure in (
            (None, None, None),
            ({"1.2.3.1"}, None, None),
            ({"1.2.3.2"}, None, UNACCEPTED_POLICY),
            ({"1.2.3.2"}, "1.2.3.2", None),
            ({"1.2.3.2"}, "1.2.3.1", UNACCEPTED_POLICY),
            ({"1.2.3.9"}, "1.2.3.9", UNACCEPTED_POLICY),
            (set(), None, UNACCEPTED_POLICY),
        ):
            guard.answer = partial(Identity, name="a", policies=None if allowed is None else frozenset(allowed))
            reply = server.request("POST", "/api/v1/timestamp", encode_request(b"guarded", policy=asked), QUERY)
            if failure is None:
                granted(reply.body)
            else:
                refused(reply.body, failure)


def test_the_first_refusal_counts_and_guards_see_who_it_is() -> None:
    class Quota(Guard):
        latency: Literal["local", "remote"] = "local"
        seen: Sequence[Identity | None] = ()

        def check(self, request: GuardedRequest) -> GuardRefusal | None:
            self.seen = [*self.seen, request.identity]
            if request.identity == ALICE:
                return GuardRefusal(status=429, text="one a minute", headers={"Retry-After": "60"})
            return None

    quota = Quota()
    with running_server(Parts(guards=[Keys(), quota]), profiles={"other": {}}) as server:
        reply = post(server, "alice")
        assert (reply.status, message(reply), reply.headers["retry-after"]) == (429, "one a minute", "60")
        granted(post(server, "bob", "/tsa/other").body)
        assert post(server).status == 401
    assert quota.seen == [ALICE, KEYS["bob"]], "nobody asks a guard after another has refused"


def test_everybody_learns_who_asked() -> None:
    outcomes: list[RequestOutcome] = []
    selected: list[Identity | None] = []

    class Watcher(Observer):
        def observe(self, outcome: RequestOutcome) -> None:
            outcomes.append(outcome)

    class Selector(PolicySelector):
        def select(self, request: TimeStampReq, context: RequestContext) -> str | None:
            selected.append(context.identity)
            return None

    class Page(Routes):
        def routes(self) -> Sequence[Route]:
            return [Route(path="/me", answer=self.me)]

        def me(self, request: RouteRequest) -> RouteReply:
            return RouteReply(body=request.identity.name.encode() if request.identity else b"?")

    parts = Parts(guards=[Keys()], observers=[Watcher()], selectors=[Selector()], routes=[Page()])
    with running_server(parts) as server:
        granted(post(server, "alice").body)
        assert server.request("GET", "/me", headers={"X-API-Key": "alice"}).body == b"alice"
        wait_until(lambda: bool(outcomes), seconds=60, what="the observer is told")
    assert selected[-1] == ALICE
    assert outcomes[-1].identity == ALICE


class Untold(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("latency", ["local", "remote"])
@pytest.mark.parametrize("kind", ["raises", "exits", "is cancelled", "says nothing", "wrong type"])
def test_a_broken_guard_lets_nobody_in(
    kind: str, latency: Literal["local", "remote"], engine: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> Any:
        if kind == "raises":
            raise ValueError("no\nkeys")
        if kind == "exits":
            raise SystemExit(3)
        if kind == "is cancelled":
            raise CancelledError
        if kind == "says nothing":
            raise Untold
        return "alice"

    guard = Keys(latency)
    with running_server(Parts(guards=[guard]), engine=engine) as server:
        guard.answer = fail
        for _ in range(3):
            reply = post(server, "alice")
            assert (reply.status, reply.headers["retry-after"]) == (503, "1")
            assert message(reply) == "the server cannot tell now whether you may use it; try again later"
        guard.answer = None
        granted(post(server, "alice").body)
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(said) == 2, "once in ten seconds, and at the end how often"
    assert "2 more requests failed" in said[1]
    assert "the guard 'guard0' (tests" in said[0]
    words = {
        "raises": "ValueError: no keys",
        "exits": "SystemExit: 3",
        "is cancelled": "failed: CancelledError",
        "says nothing": "failed: Untold: it cannot say more",
        "wrong type": "returned a str",
    }
    assert words[kind] in said[0]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_guard_that_hangs_costs_its_time_limit_and_probes_are_answered(engine: str) -> None:
    go = threading.Event()
    guard = Keys("remote")
    tables = {"middleware": {"guard_timeout": "200ms"}}
    with running_server(Parts(guards=[guard]), engine=engine, tables=tables) as server:
        granted(post(server, "alice").body)
        guard.answer = lambda: go.wait(60) and None
        try:
            assert post(server, "alice").status == 503
            for _ in range(5):
                assert post(server, "alice").status == 503
                assert server.request("GET", "/ping").status == 200
        finally:
            go.set()
            guard.answer = None
        wait_until(lambda: post(server, "alice").status == 200, seconds=60, what="the guard answers again")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_refused_head_leaves_the_connection_in_order(engine: str) -> None:
    """A reply to HEAD has no body (RFC 9110 9.3.2); one would be read as the beginning of the next reply."""
    with running_server(Parts(guards=[Keys()]), engine=engine) as server:
        connection = http.client.HTTPConnection(*server.address, timeout=60)
        for method, key, status in (("HEAD", "", 401), ("HEAD", "", 401), ("GET", "alice", 200), ("GET", "", 401)):
            connection.request(method, "/api/v1/timestamp/certchain", headers={"X-API-Key": key} if key else {})
            reply = connection.getresponse()
            assert reply.status == status
            assert bool(reply.read()) == (method == "GET")
        connection.close()


def test_readyz_is_red_while_a_guard_cannot_answer() -> None:
    class Counting(Keys):
        healthy = True

        def health(self) -> HealthStatus:
            return HealthStatus(healthy=self.healthy, reason="" if self.healthy else "nobody can be counted")

    guard = Counting()
    with running_server(Parts(guards=[guard])) as server:

        def ready() -> int:
            return server.request("GET", "/readyz").status

        wait_until(lambda: ready() == 200, seconds=60, what="it is ready")
        guard.healthy = False
        wait_until(lambda: ready() == 503, seconds=60, what="it is not ready")
        checks = {check["name"]: check for check in server.request("GET", "/readyz").json["checks"]}
        assert checks["guard:guard0"]["reason"] == "nobody can be counted"
        guard.healthy = True
        wait_until(lambda: ready() == 200, seconds=60, what="it is ready again")


def test_a_guard_learns_the_profiles_and_may_refuse_its_settings() -> None:
    class Bound(Keys):
        names: Sequence[str] = ()

        def bind(self, profiles: Sequence[ProfileSummary]) -> None:
            self.names = [profile.name for profile in profiles]
            if "wrong" in self.names:
                raise ConfigError("no profile may be called wrong", path="middleware.x")

    class Crashing(Keys):
        def bind(self, profiles: Sequence[ProfileSummary]) -> None:
            raise KeyError("x")

    guard = Bound()
    with open_service(Parts(guards=[guard]), profiles={"other": {}}):
        assert sorted(guard.names) == ["default", "other"]
    with pytest.raises(ConfigError, match=r"middleware\.x: no profile may be called wrong"):
        open_service(Parts(guards=[guard]), profiles={"wrong": {}})
    with pytest.raises(PluginCrash, match=r"the guard 'guard0' \(tests 0\) failed in bind: KeyError"):
        open_service(Parts(guards=[Crashing()]))


def test_without_guards_the_application_is_not_wrapped() -> None:
    with open_service() as plain, open_service(Parts(guards=[Keys()])) as guarded:
        assert type(create_app(plain)).__name__ == "FastPath"
        assert type(create_app(guarded)).__name__ == "_GuardedApplication"


def test_settings_without_an_effect_are_errors() -> None:
    with pytest.raises(ConfigError, match=r"middleware\.guard_timeout"):
        open_service(Parts(guards=[Keys()]), tables={"middleware": {"guard_timeout": "1s"}})
    with pytest.raises(ConfigError, match="guards lists 'a' twice"):
        load_settings(overrides={"middleware": {"guards": ["a", "a"]}}, environ={})
    with pytest.raises(ConfigError, match="selects no plugin"):
        open_service(tables={"middleware": {"guard_timeout": "1s"}})


@pytest.mark.parametrize("text", ["", "a\nb", "\xe9", "x" * 201, " a"])
def test_an_identity_is_fit_for_a_log(text: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name"):
        Identity(name=text)
    if text:
        with pytest.raises(ValueError, match="cannot be the tenant"):
            Identity(name="a", tenant=text)
    with pytest.raises(ValueError, match="cannot say how"):
        Identity(name="a", how="API key")


def test_a_refusal_can_be_sent() -> None:
    for headers in ({"X": "a\r\nSet-Cookie: b"}, {"Set-Cookie": "a"}, {"a b": "c"}, {"Content-Length": "1"}):
        with pytest.raises(ValueError, match="header"):
            GuardRefusal(status=403, text="no", headers=headers)
    with pytest.raises(ValueError, match="status 200"):
        GuardRefusal(status=200, text="no")  # type: ignore[arg-type] # the mistake
    with pytest.raises(ValueError, match="text"):
        GuardRefusal(status=403, text="")
