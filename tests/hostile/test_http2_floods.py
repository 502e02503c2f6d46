"""Floods that HTTP/2 makes possible: the process lives, its memory is bounded, and honest clients are served meanwhile.

The figures that docs/operate/hostile.md has were logged by these tests (`pytest --log-cli-level=INFO tests/hostile`).
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import cache
from threading import Event

import pytest

from tests.hostile.attack import HONEST_SECONDS, REQUEST, Target, resident_octets
from tests.http2_client import Http2Connection, StreamEnded, over_tls
from tests.tls_material import TlsMaterial
from tsa_core.testing import ServerProcess, require_package

log = logging.getLogger(__name__)
pytestmark = pytest.mark.plugin("memory")

MIB = 1024 * 1024
ATTACK_SECONDS = 1.0
"""How long a flood lasts at least; it goes on until ENOUGH has been sent, however slow the machine is."""
ENOUGH = 250
STREAMS = 100

DATA, HEADERS, RESET, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4
CANCEL = 8
_TOGETHER = 50


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    require_package("h2")
    tls = TlsMaterial(tmp_path_factory.mktemp("tls"))
    certificate, key = tls.write("server")
    flags = ["--scheme", "https", "--http2", "--tls-certificate", str(certificate), "--tls-key", str(key)]
    more = ["--port", "0", "--tls-port", "0", "--listen-limit", "400", "--read-timeout", "5m"]
    with ServerProcess(None, *flags, *more, "--graceful-timeout", "2s", "--access-log=false") as server:
        one = Target(server, "https", tls, "granian with HTTP/2")
        stamp(one.server, tls)
        yield one


def connect(target: Target) -> Http2Connection:
    connected = over_tls(target.server.address("https"), target.tls)
    connected.settimeout(HONEST_SECONDS)
    return Http2Connection(connected, scheme="https")


def stamp(server: ServerProcess, tls: TlsMaterial) -> float:
    """Get one timestamp as an honest client does; return how many seconds it took."""
    started = time.monotonic()
    with Http2Connection(over_tls(server.address("https"), tls), scheme="https") as connection:
        reply = connection.request(body=REQUEST)
    assert reply.status == 200
    assert reply.body[:1] == b"\x30"
    return time.monotonic() - started


def check(target: Target, what: str, before: int, *, more: int, waited: float = 0) -> None:
    """Check that the server lives, serves and has not grown by more than `more` bytes."""
    assert target.server.process.poll() is None, target.server.log
    seconds = max(waited, stamp(target.server, target.tls))
    grown = resident_octets(target.server) - before
    log.info("%s: %s: %+.1f MiB, an honest client waits %.0f ms", target.name, what, grown / MIB, seconds * 1000)
    assert seconds < HONEST_SECONDS
    assert grown < more, f"{grown / MIB:.1f} MiB more"
    assert "Traceback" not in target.server.log


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


@cache
def fields(method: str, *more: tuple[str, str], path: str = "/api/v1/timestamp") -> bytes:
    """Return a block of headers that says everything anew, without the table that both sides remember."""
    import hpack

    names = [(":method", method), (":scheme", "https"), (":authority", "x"), (":path", path), *more]
    encoded: bytes = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*each) for each in names])
    return encoded


TYPE = ("content-type", "application/timestamp-query")


Steps = tuple[bytes, bytes]
"""What is sent for a stream at first, and what follows when the server has seen that."""


def cancelled(method: str, *, body: bytes, end: bool) -> Callable[[int], Steps]:
    """Return what opens a stream, with a body that may be incomplete, and cancels it."""
    more = [TYPE, ("content-length", str(len(REQUEST)))] if body else []

    def attack(stream: int) -> Steps:
        block = fields(method, *more)
        opened = frame(HEADERS, END_HEADERS | (0 if body else END_STREAM), stream, block)
        sent = frame(DATA, END_STREAM if end else 0, stream, body) if body else b""
        return opened + sent, frame(RESET, 0, stream, CANCEL.to_bytes(4, "big"))

    return attack


def provoked(stream: int) -> Steps:
    """Open a stream and make the server reset it itself (CVE-2025-8671)."""
    return frame(HEADERS, END_HEADERS, stream, fields("POST", TYPE)), frame(WINDOW_UPDATE, 0, stream, bytes(4))


def empty_data(stream: int) -> Steps:
    return frame(HEADERS, END_HEADERS, 1, fields("POST", TYPE)) if stream == 1 else b"", frame(DATA, 0, 1, b"")


def headers_without_end(stream: int) -> Steps:
    if stream == 1:
        return frame(HEADERS, 0, 1, fields("GET")), b""
    return b"", frame(CONTINUATION, 0, 1, fields("GET", ("x-long", "x" * 1000)))


FLOODS: dict[str, Callable[[int], Steps]] = {
    "whole requests, cancelled": cancelled("POST", body=REQUEST, end=True),
    "half requests, cancelled": cancelled("POST", body=REQUEST[:9], end=False),
    "GET, cancelled": cancelled("GET", body=b"", end=True),
    "streams that the server resets": provoked,
    "PING": lambda _: (frame(PING, 0, 0, bytes(8)), b""),
    "SETTINGS": lambda _: (frame(SETTINGS, 0, 0, b""), b""),
    "empty DATA": empty_data,
    "headers without end": headers_without_end,
}


@pytest.mark.parametrize("kind", FLOODS)
@pytest.mark.parametrize("pause", [0.0, 0.002], ids=["at once", "in steps"])
def test_a_flood(target: Target, kind: str, pause: float) -> None:
    """One attacker that comes back whenever it is thrown out; in steps each stream is seen open before it goes."""
    before = resident_octets(target.server)
    over = Event()
    sent = connections = 0

    def attack() -> None:
        nonlocal sent, connections
        while not over.is_set():
            connections += 1
            with suppress(OSError, StreamEnded), connect(target) as connection:
                connection.socket.settimeout(5)  # who is not read any more comes back on another connection
                for stream in range(1, 200_001, 2 * _TOGETHER):
                    steps = [FLOODS[kind](number) for number in range(stream, stream + 2 * _TOGETHER, 2)]
                    for step in zip(*steps, strict=True):
                        connection.socket.sendall(b"".join(step))
                        if pause:
                            over.wait(pause)
                    sent += _TOGETHER
                    if over.is_set():
                        break

    with ThreadPoolExecutor(1) as pool:
        attacker = pool.submit(attack)
        waited, peak = [], before
        started = time.monotonic()
        try:
            while sent < ENOUGH or time.monotonic() - started < ATTACK_SECONDS:
                assert not attacker.done(), attacker.result()
                waited.append(stamp(target.server, target.tls))
                peak = max(peak, resident_octets(target.server))
        finally:
            over.set()
        attacker.result(HONEST_SECONDS)
    log.info("%s: %d on %d connections", kind, sent, connections)
    assert peak - before < 40 * MIB, f"{(peak - before) / MIB:.1f} MiB more"
    check(target, f"flood of {kind}", before, more=40 * MIB, waited=max(waited))


def test_bodies_that_never_come_on_many_streams(target: Target) -> None:
    before = resident_octets(target.server)
    with ExitStack() as stack:
        for _ in range(20):
            connection = stack.enter_context(connect(target))
            for _ in range(STREAMS):
                connection.begin(body=REQUEST[:10], end=False, flush=False)
            connection.flush()
        check(target, f"{20 * STREAMS} bodies that never come, on 20 connections", before, more=40 * MIB)


def test_large_bodies_on_many_streams_share_what_a_connection_may_hold(target: Target) -> None:
    before = resident_octets(target.server)
    with ExitStack() as stack:
        connections = []
        for _ in range(10):
            connection = stack.enter_context(connect(target))
            connections.append(connection)
            for _ in range(STREAMS):
                connection.begin(body=bytes(60_000), end=False)
        check(target, f"{10 * STREAMS} bodies of 60 kB, on 10 connections", before, more=60 * MIB)
        for connection in connections:
            while not any(stream.done for stream in connection.streams.values()):
                connection.receive()
            assert {stream.status for stream in connection.streams.values() if stream.done} == {429}


def test_replies_that_nobody_takes(target: Target) -> None:
    """Each client allows the server not one byte of a body."""
    before = resident_octets(target.server)
    with ExitStack() as stack:
        for _ in range(20):
            connection = stack.enter_context(connect(target))
            connection.protocol.update_settings({4: 0})
            for _ in range(STREAMS - 1):
                connection.begin(body=REQUEST, flush=False)
            connection.flush()
            number = connection.begin("GET", "/ping")
            while not connection.streams[number].status:
                connection.receive()
        check(target, f"{20 * (STREAMS - 1)} replies that nobody takes, on 20 connections", before, more=60 * MIB)


def test_headers_that_grow_when_they_are_read(target: Target) -> None:
    """A long header is sent once, and named thousands of times: a byte each."""
    import hpack

    before = resident_octets(target.server)
    encoder = hpack.Encoder()
    first = encoder.encode([(":method", "GET"), (":scheme", "https"), (":authority", "x"), (":path", "/ping")])
    long = encoder.encode([("x-bomb", "x" * 4000)])
    for _ in range(10):
        with suppress(OSError), connect(target) as connection:
            block = first + long + b"\xbe" * 10_000
            connection.socket.sendall(frame(HEADERS, END_HEADERS | END_STREAM, 1, block))
            assert connection.socket.recv(65536)
            connection.socket.sendall(frame(PING, 0, 0, bytes(8)))
            assert connection.socket.recv(65536)
    check(target, "10 heads of 16 kB that mean 40 MB each", before, more=40 * MIB)


def test_prefaces_that_never_end(target: Target) -> None:
    before = resident_octets(target.server)
    with ExitStack() as stack:
        for _ in range(150):
            connected: socket.socket = stack.enter_context(over_tls(target.server.address("https"), target.tls))
            connected.sendall(b"PRI * HTTP/2")
        check(target, "150 prefaces that never end", before, more=40 * MIB)
