"""Clients that open a connection for each request, as most of them do."""

from __future__ import annotations

import re
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel

from tests.conformance.replies import granted, refused
from tests.serving import QUERY, Parts, TestSink, running_server
from tsa_core.api import AuditRecord
from tsa_core.config import load_settings
from tsa_core.hosting.sockets import listen
from tsa_core.hosting.waitress import channel
from tsa_core.hosting.waitress.channel import Channel
from tsa_core.hosting.waitress.request import Parser
from tsa_core.hosting.waitress.server import WaitressServer
from tsa_core.testing import encode_request

SYSTEM_FAILURE = "03050600000040"
BODY = encode_request(b"one connection each")
PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"


def query(*lines: str) -> bytes:
    head = (
        "POST /api/v1/timestamp HTTP/1.1",
        "Host: x",
        f"Content-Type: {QUERY}",
        f"Content-Length: {len(BODY)}",
        *lines,
    )
    return "\r\n".join((*head, "", "")).encode() + BODY


LAST = query("Connection: close")


def ask(address: tuple[str, int], *segments: bytes) -> bytes:
    """Send the segments, and return all that comes until the server closes."""
    with socket.create_connection(address, timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for segment in segments:
            connection.sendall(segment)
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(65_536):
        parts.append(part)
    return b"".join(parts)


def body_of(reply: bytes) -> bytes:
    """Return the body of a reply that says that the connection ends."""
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert head.lower().count(b"\r\nconnection: close") == 1
    length = re.search(rb"\r\ncontent-length: (\d+)", head.lower())
    assert length is not None
    assert len(body) == int(length[1])
    return body


def test_the_last_request_of_a_connection_gets_its_whole_reply_and_then_the_end() -> None:
    with running_server() as server:
        for segments in ((LAST,), (LAST[:30], LAST[30:200], LAST[200:])):
            granted(body_of(ask(server.address, *segments)))


def test_what_comes_behind_the_last_request_is_not_answered() -> None:
    sink = TestSink()
    with running_server(Parts(sinks=[sink])) as server:
        reply = ask(server.address, PING + PING + LAST + query() * 3)
        for _ in range(2):
            head, _, reply = reply.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert reply[:1] == b"."
            reply = reply[1:]
        granted(body_of(reply))
    assert len(sink.records) == 1


def test_the_last_requests_of_many_connections_are_all_answered() -> None:
    sink = TestSink()
    with running_server(Parts(sinks=[sink])) as server, ExitStack() as opened:
        connections = [opened.enter_context(socket.create_connection(server.address, timeout=60)) for _ in range(40)]
        for connection in connections:
            connection.sendall(LAST)
        replies = [granted(body_of(read_all(connection))) for connection in connections]
    assert {reply.tst_info["serial_number"].native for reply in replies} == {
        record.serial_number for record in sink.records
    }
    assert len(sink.records) == 40


def test_the_last_request_is_refused_when_a_plugin_hangs_and_then_comes_the_end() -> None:
    go = threading.Event()

    class Sink(TestSink):
        def write_all(self, records: Sequence[AuditRecord]) -> None:
            go.wait(60)
            super().write_all(records)

    tables = {"audit": {"sink_timeout": "200ms"}}
    with running_server(Parts(sinks=[Sink()]), tables=tables) as server:
        try:
            refused(body_of(ask(server.address, LAST + PING)), SYSTEM_FAILURE)
        finally:
            go.set()


def test_a_connection_has_buffers_and_locks_when_it_needs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[set[str]] = []
    leave = Channel.del_channel

    def noted(channel: Channel, *arguments: Any) -> None:
        made.append(vars(channel).keys() & {"outbufs", "sendbuf_len", "requests_lock", "outbuf_lock"})
        leave(channel, *arguments)

    monkeypatch.setattr(Channel, "del_channel", noted)
    with running_server() as server:
        for _ in range(3):  # the first ones teach the server the header block
            granted(body_of(ask(server.address, LAST)))
        assert made[-1] == set()
        ask(server.address, b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert made[-1] == {"requests_lock"}


def test_a_connection_has_all_that_waitress_gives_one() -> None:
    server: Any = SimpleNamespace(active_channels={}, slots=SimpleNamespace(add=lambda _: None))
    first, second = socket.socketpair()
    with first, second:
        theirs = HTTPChannel(server, first, ("192.0.2.1", 1), Adjustments(), map={})
        ours = Channel(server, second, ("192.0.2.1", 1), Adjustments(), map={})
        expected = {name: type(value) for name, value in vars(theirs).items()}
        assert {name: type(getattr(ours, name, None)) for name in expected} == expected


def test_waitress_makes_connections_itself_when_it_does_more_than_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert channel._KNOWS_WAITRESS, "the constructor of waitress's channel has changed; compare ours with it"
    made: list[Channel] = []
    theirs = HTTPChannel.__init__

    def noted(connection: Any, *arguments: Any, **named: Any) -> None:
        made.append(connection)
        theirs(connection, *arguments, **named)

    monkeypatch.setattr(HTTPChannel, "__init__", noted)
    with running_server() as server:
        granted(body_of(ask(server.address, LAST)))
        assert not made
        monkeypatch.setattr(channel, "_KNOWS_WAITRESS", False)
        for _ in range(3):
            granted(body_of(ask(server.address, LAST)))
    assert len(made) == 3


def test_threads_that_need_the_lock_of_a_connection_at_the_same_time_get_the_same() -> None:
    for _ in range(20):
        channel = object.__new__(Channel)
        with ThreadPoolExecutor(8) as pool:
            locks = {id(lock) for lock in pool.map(attrgetter("outbuf_lock"), [channel] * 64)}
        assert locks == {id(channel.outbuf_lock)}


def test_heads_with_connection_close_are_parsed_once() -> None:
    class Adjustments:
        max_request_header_size = 16_384
        max_request_body_size = 2**62
        inbuf_overflow = 2**62
        max_body = 65_536
        url_scheme = "http"

    parsers = [Parser(Adjustments()) for _ in range(2)]
    for parser in parsers:
        assert parser.received(LAST[parser.received(LAST) :]) == len(BODY)
        assert parser.completed
        assert parser.connection_close
    assert parsers[0].cached is not None
    assert parsers[0].cached is parsers[1].cached


@pytest.mark.needs(sys.platform == "linux", "reads the descriptors that epoll watches from /proc")
def test_the_kernel_is_told_of_connections_that_stay_alone() -> None:
    """The application counts what epoll watches besides the listening socket and the trigger."""
    seen: list[tuple[int, int]] = []

    def watched(epoll: int) -> int:
        return Path(f"/proc/self/fdinfo/{epoll}").read_text(encoding="ascii").count("tfd:")

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        channel = environ["waitress.client_disconnected"].__self__
        seen.append(
            (watched(server._loop._poll.fileno()), channel.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        )
        start_response("200 OK", [("content-length", "1")])
        return [b"."]

    settings = load_settings(overrides={"server": {"port": 0}}, environ={}).server
    sockets = listen(settings)
    server = WaitressServer(app, settings, sockets=sockets)
    thread = threading.Thread(target=server.run)
    address = sockets[0].getsockname()[:2]
    with socket.create_connection(address, timeout=60) as kept, socket.create_connection(address, timeout=60) as last:
        kept.sendall(PING)
        last.sendall(LAST)
        thread.start()
        try:
            assert read_all(last).startswith(b"HTTP/1.1 200")
            assert kept.recv(4096).startswith(b"HTTP/1.1 200")
            kept.sendall(PING)
            assert kept.recv(4096).startswith(b"HTTP/1.1 200")
        finally:
            server.stop()
            thread.join(60)
    assert not thread.is_alive()
    listening_and_trigger = 2
    assert [count for count, _ in seen] == [listening_and_trigger, listening_and_trigger, listening_and_trigger + 1]
    assert all(nodelay for _, nodelay in seen), "connections inherit the listening socket's options"
