"""The route of tsa-authenticode on real servers: what stops tokens stops it, with a status that its clients show."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from asn1crypto import cms

from tests.authority.countersigned import VALUE, Events, attributes
from tests.serving import Parts, Server, TestClock, TestSigner, open_service, running_server
from tsa_core.api import (
    AuditError,
    ClockError,
    ConfigError,
    Guard,
    GuardedRequest,
    GuardRefusal,
    Identity,
    PKIFailureInfo,
    PolicySelector,
    RequestContext,
    RequestRejected,
    Routes,
    TimeStampReq,
)
from tsa_core.protocol import der, oids

pytestmark = pytest.mark.plugin("authenticode")

CONTENT = der.sequence(der.oid(oids.ID_DATA), der.explicit(0, der.octet_string(VALUE)))
BODY = base64.encodebytes(der.sequence(der.oid("1.3.6.1.4.1.311.3.2.1"), CONTENT))


def fails(error: Exception) -> Callable[[], datetime]:
    def read() -> datetime:
        raise error

    return read


class World(Guard, PolicySelector):
    """Everything around the route; a test makes parts of it refuse."""

    latency = "local"

    def __init__(self) -> None:
        self.clock, self.sink, self.signer = TestClock(), Events(), TestSigner("rsa-2048")
        self.keeps_out = self.rejects = False
        self.server: Server

    def check(self, request: GuardedRequest) -> Identity | GuardRefusal | None:
        if self.keeps_out:
            return GuardRefusal(status=429, text="too many", headers={"Retry-After": "7"})
        return Identity(name="builder", tenant="acme")

    def select(self, request: TimeStampReq, context: RequestContext) -> str | None:
        if self.rejects:
            raise RequestRejected(PKIFailureInfo.BAD_REQUEST, "not from this network")
        return None

    def post(self) -> tuple[int, str, str | None]:
        """Ask for a countersignature; return the status, what a refusal says, and when to come again."""
        reply = self.server.post(BODY, content_type="application/octet-stream", path="/authenticode")
        if reply.status == 200:
            assert attributes(base64.b64decode(reply.body))["content_type"] == "data"
        said = reply.json["message"] if "json" in reply.headers["content-type"] else reply.body.decode().strip()
        return reply.status, said if reply.status != 200 else "", reply.headers.get("retry-after")


def the_routes() -> Routes:
    from tsa_authenticode.options import AuthenticodeOptions
    from tsa_authenticode.routes import AuthenticodeRoutes

    return AuthenticodeRoutes(AuthenticodeOptions(paths={"/authenticode": "default"}))


@pytest.fixture(scope="module", params=["waitress", "granian"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    around = World()
    parts = Parts(
        routes=[the_routes()],
        guards=[around],
        selectors=[around],
        clock=around.clock,
        sinks=[around.sink],
        signers={"p256": around.signer},
    )
    with running_server(parts, engine=request.param) as around.server:
        yield around


def test_countersignature_is_recorded_with_who_asked(world: World) -> None:
    before = len(world.sink.events)
    assert world.post() == (200, "", None)
    [event] = world.sink.events[before:]
    assert (event.details["identity"], event.details["client"]) == ("builder", "127.0.0.1")


@pytest.mark.parametrize(
    ("stop", "answer"),
    [
        (lambda world, patch: patch.setattr(world, "keeps_out", True), (429, "too many", "7")),
        (lambda world, patch: patch.setattr(world, "rejects", True), (403, "not from this network", None)),
        (
            lambda world, patch: patch.setattr(world.clock, "read", fails(ClockError("the clock has stopped"))),
            (503, "the clock has stopped", "1"),
        ),
        (
            lambda world, patch: patch.setattr(world.sink, "failure", AuditError("the disk is full")),
            (503, "the timestamp cannot be signed now; try again later", "1"),
        ),
        (
            lambda world, _patch: world.signer.go_down(),
            (503, "the timestamp cannot be signed now; try again later", "1"),
        ),
    ],
    ids=["guard", "selector", "clock", "audit", "signer"],
)
def test_what_stops_tokens_stops_it(
    world: World, monkeypatch: pytest.MonkeyPatch, stop: Callable[..., Any], answer: tuple[int, str, str | None]
) -> None:
    before = len(world.sink.events)
    try:
        with monkeypatch.context() as patch:
            stop(world, patch)
            assert world.post() == answer
    finally:
        world.signer.come_back()
    assert len(world.sink.events) == before
    assert world.post()[0] == 200


def test_old_clients_at_the_address_of_timestamps_are_told_theirs(world: World) -> None:
    reply = world.server.post(BODY, content_type="application/octet-stream")
    assert reply.status == 415
    assert reply.json["message"] == (
        'unsupported media type "application/octet-stream", only [application/timestamp-query application/json] are '
        "allowed; if it is no RFC 3161 request, its address is /authenticode"
    )
    assert "address" not in world.server.post(BODY, content_type="text/plain").json["message"]


@pytest.mark.parametrize(
    ("handler_timeout", "sinks", "enough"),
    [("5s", [], "6s"), ("5500ms", [], "6s"), ("6s", [], ""), ("10s", [Events()], "11s"), ("11s", [Events()], "")],
)
def test_a_route_waits_longer_than_signer_and_sinks_may_take(
    handler_timeout: str, sinks: list[Events], enough: str
) -> None:
    parts = Parts(routes=[the_routes()], sinks=sinks)
    tables = {"routes": {"handler_timeout": handler_timeout}}
    if not enough:
        open_service(parts, tables=tables).close()
        return
    with pytest.raises(ConfigError, match=rf'routes\.handler_timeout ends it after .*; set that to "{enough}" or more'):
        open_service(parts, tables=tables)


def test_limits_nest_unless_they_are_changed() -> None:
    for count in (1, 2, 4):
        open_service(Parts(routes=[the_routes()], sinks=[Events() for _ in range(count)])).close()
    longer = {"default": {"signer_timeout": "20s"}}
    parts = Parts(routes=[the_routes()], sinks=[Events()])
    open_service(parts, profiles=longer).close()
    with pytest.raises(ConfigError, match=r"a countersignature may take 25\.5 s"):
        open_service(parts, profiles=longer, tables={"routes": {"handler_timeout": "25s"}})


def test_time_is_never_later_than_the_answer(world: World) -> None:
    earliest = datetime.now(UTC).replace(microsecond=0)
    reply = world.server.post(BODY, content_type="application/octet-stream", path="/authenticode")
    made = base64.b64decode(reply.body)
    assert earliest <= attributes(made)["signing_time"] <= datetime.now(UTC)
    assert cms.ContentInfo.load(made)["content"]["encap_content_info"]["content"].native == VALUE
