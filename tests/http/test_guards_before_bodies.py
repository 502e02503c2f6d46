"""Guards see a head before the body has come: whom they refuse need not send it, and it is not read."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Literal

import pytest

from tests.http.test_guards import BODY, KEYS, NO_KEY, Keys
from tests.http_replies import only_reply
from tests.serving import Parts, Server, TestSink, running_server
from tsa_core.testing import wait_until

GRANTED = bytes.fromhex("3003020100")


def head(*lines: str, key: str = "", length: int | None = len(BODY)) -> bytes:
    declared = [] if length is None else [f"Content-Length: {length}"]
    named = [f"X-API-Key: {key}"] if key else []
    start = ("POST /api/v1/timestamp HTTP/1.1", "Host: x", "Content-Type: application/timestamp-query")
    return "\r\n".join((*start, *named, *declared, *lines, "", "")).encode()


def read_end(connection: socket.socket) -> bytes:
    """Return what comes until the end, which is no reset."""
    parts = []
    while part := connection.recv(65_536):
        parts.append(part)
    return b"".join(parts)


class Guarded:
    def __init__(self, server: Server, guard: Keys, sink: TestSink) -> None:
        self.server = server
        self.guard = guard
        self.sink = sink

    def wait_for_guard(self, count: int) -> None:
        wait_until(lambda: len(self.guard.asked) == count, seconds=60, what="the guard has seen the head")

    def connect(self) -> socket.socket:
        return socket.create_connection(self.server.address, timeout=60)


@pytest.fixture(
    scope="module",
    params=[(engine, latency) for engine in ("waitress", "granian") for latency in ("local", "remote")],
    ids="-".join,
)
def guarded(request: pytest.FixtureRequest) -> Iterator[Guarded]:
    engine, latency = request.param
    kind: Literal["local", "remote"] = latency
    guard, sink = Keys(kind), TestSink()
    with running_server(Parts(guards=[guard], sinks=[sink]), engine=engine, read_timeout="30s") as server:
        yield Guarded(server, guard, sink)


@pytest.mark.parametrize(
    "sent",
    [
        head(),
        head(length=60_000) + bytes(100),
        head(length=60_000) + bytes(60_000),
        head("Transfer-Encoding: chunked", length=None) + b"5\r\nhello\r\n",
        head("Expect: 100-continue"),
    ],
    ids=["no body", "the begin of a body", "the whole body", "chunks", "a body that waits"],
)
def test_a_refusal_comes_without_the_body_and_then_the_end(sent: bytes, guarded: Guarded) -> None:
    before = len(guarded.guard.asked)
    with guarded.connect() as connection:
        connection.sendall(sent)
        reply = read_end(connection)
    assert reply.startswith(b"HTTP/1.1 401 ")
    text, _, body = reply.partition(b"\r\n\r\n")
    assert b"\r\nconnection: close" in text.lower()
    assert NO_KEY.text.encode() in body
    assert len(guarded.guard.asked) == before + 1


def test_a_client_that_goes_on_sending_gets_its_reply(guarded: Guarded) -> None:
    with guarded.connect() as connection:
        connection.sendall(head(length=60_000))
        _, text, body = only_reply(connection)
        assert text.startswith(b"http/1.1 401 ")
        assert NO_KEY.text.encode() in body
        connection.sendall(bytes(60_000))  # no reset has destroyed the connection


@pytest.mark.parametrize("expect", [(), ("Expect: 100-continue",)], ids=["plain", "100-continue"])
def test_who_may_is_asked_for_the_body_and_the_guard_is_asked_once(expect: tuple[str, ...], guarded: Guarded) -> None:
    before = len(guarded.guard.asked)
    with guarded.connect() as connection:
        for number in range(before + 1, before + 3):  # and the connection is kept
            connection.sendall(head(*expect, key="alice"))
            if expect:
                assert only_reply(connection).status == 100
            else:
                guarded.wait_for_guard(number)
            connection.sendall(BODY)
            _, text, body = only_reply(connection)
            assert text.startswith(b"http/1.1 200 ")
            assert GRANTED in body[:16]
            assert len(guarded.guard.asked) == number
            asked, record = guarded.guard.asked[-1], guarded.sink.records[-1]
            assert (record.identity, record.request_id) == (KEYS["alice"], asked.request_id)
            assert asked.content_length == len(BODY)


def test_the_reply_to_the_request_before_comes_first(guarded: Guarded) -> None:
    with guarded.connect() as connection:
        connection.sendall(head(key="alice") + BODY + head("Expect: 100-continue"))
        reply = read_end(connection)
    assert reply.startswith(b"HTTP/1.1 200 ")
    assert reply.count(b"HTTP/1.1 ") == 2
    assert b"HTTP/1.1 401 " in reply
