"""Requests with a known header block skip the parser and the environ; what becomes of them is the same.

Each sequence of octets goes to two servers. One gets it octet by octet, and has forgotten every header block: that is
waitress's own parser, and WSGI. The other gets it at once, thrice: the block is new, then it is known. What a client
sees must be the same, and so must be what comes of the request behind it.
"""

from __future__ import annotations

import gc
import re
import socket
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tests.serving import Parts, TestSigner, TestSink, open_service
from tsa_core.api import Observer, PolicySelector, RequestContext, RequestOutcome
from tsa_core.hosting.sockets import listen
from tsa_core.hosting.waitress.request import Parser, UsualRequest
from tsa_core.hosting.waitress.server import WaitressServer
from tsa_core.http import create_app
from tsa_core.protocol.hashes import SHA1, SHA256
from tsa_core.protocol.request import encode_request
from tsa_core.service import LiveService, Service
from tsa_core.testing import wait_until

BODY = encode_request(algorithm=SHA256, digest=bytes(32), nonce=1, cert_req=True)
OLD = encode_request(algorithm=SHA1, digest=bytes(20))
ROUTE = "/api/v1/timestamp"
TYPE = "Content-Type: application/timestamp-query"
LENGTH = f"Content-Length: {len(BODY)}"
LIMIT = 1000
GRANTED = b"\x30\x03\x02\x01\x00"
"""PKIStatusInfo with nothing but granted."""
_TURNS = 4


def request(*lines: str, first: str = f"POST {ROUTE} HTTP/1.1", body: bytes = BODY) -> bytes:
    """Return a request with these header lines and no others."""
    return "\r\n".join([first, *lines, "", ""]).encode("latin-1") + body


def usual(*lines: str, body: bytes = BODY) -> bytes:
    """Return a request as clients send it, with more lines."""
    return request("Host: tsa.example", TYPE, f"Content-Length: {len(body)}", *lines, body=body)


GOOD = usual()
TAKEN = {
    "usual": GOOD,
    "refused": usual(body=OLD),
    "empty body": usual(body=b""),
    "no DER": usual(body=b"\x30\x82garbage"),
    "as long as may be": usual(body=bytes(LIMIT)),
    "with an id": usual("X-Request-Id: client-7"),
    "id that is none": usual("X-Request-Id: two words"),
    "id that formats": usual("X-Request-Id: %s%b{request-id}%"),
    "last one": usual("Connection: close"),
    "last of a list": usual("Connection: keep-alive, close"),
    "kept": usual("Connection: keep-alive"),
    "query": request("Host: a", TYPE, LENGTH, first=f"POST {ROUTE}?a=b HTTP/1.1"),
    "absolute target": request("Host: a", TYPE, LENGTH, first=f"POST http://a{ROUTE} HTTP/1.1"),
    "escaped path": request("Host: a", TYPE, LENGTH, first="POST /api/v1/%74imestamp HTTP/1.1"),
    "zeros before the length": request("Host: a", TYPE, f"Content-Length: 000{len(BODY)}"),
    "octets above ASCII": usual("X: \xff\xfe"),
    "many lines": usual(*[f"X-{number}: y" for number in range(97)]),
}
"""What the fast path answers; once its block is known, without the parser."""
LEFT = {
    "body too long": usual(body=bytes(LIMIT + 1)),
    "octets behind it": GOOD + b"x",
    "part of the next": GOOD + GOOD[:40],
    "two at once": GOOD + GOOD,
    "three at once, the second one last": GOOD + usual("Connection: close") + GOOD,
    "body not complete": GOOD[:-1],
    "head alone": GOOD[: -len(BODY)],
    "head not complete": GOOD[: -len(BODY) - 2],
    "blank line before": b"\r\n" + GOOD,
    "blank lines alone": b"\r\n\r\n",
    "nothing but LF": GOOD.replace(b"\r\n", b"\n"),
    "one LF": GOOD.replace(b"\r\nContent-Type", b"\nContent-Type"),
    "CR in a value": usual("X: a\rb"),
    "NUL in a value": usual("X: a\0b"),
    "continued line": usual("X: a", " b"),
    "space before the colon": request("Host: a", TYPE, f"Content-Length : {len(BODY)}"),
    "no name": usual(": a"),
    "two lengths": request("Host: a", TYPE, LENGTH, LENGTH),
    "two lengths that differ": request("Host: a", TYPE, LENGTH, "Content-Length: 1"),
    "list of lengths": request("Host: a", TYPE, f"Content-Length: {len(BODY)}, {len(BODY)}"),
    "length with a sign": request("Host: a", TYPE, f"Content-Length: +{len(BODY)}"),
    "negative length": request("Host: a", TYPE, "Content-Length: -1"),
    "length in hexadecimal": request("Host: a", TYPE, f"Content-Length: {len(BODY):#x}"),
    "length of thousand digits": request("Host: a", TYPE, f"Content-Length: {'9' * 1000}"),
    "other digits": request("Host: a", TYPE, "Content-Length: \xb2"),
    "no length": request("Host: a", TYPE),
    "chunks": request("Host: a", TYPE, "Transfer-Encoding: chunked", body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)),
    "chunks with a length": request("Host: a", TYPE, LENGTH, "Transfer-Encoding: chunked"),
    "unknown coding": request("Host: a", TYPE, LENGTH, "Transfer-Encoding: gzip"),
    "asks first": usual("Expect: 100-continue"),
    "page of another origin": usual("Origin: https://example.net"),
    "type with a parameter": request("Host: a", f"{TYPE}; a=b", LENGTH),
    "other type": request("Host: a", "Content-Type: application/json", LENGTH),
    "no type": request("Host: a", LENGTH),
    "two types": request("Host: a", TYPE, TYPE, LENGTH),
    "no host": request(TYPE, LENGTH),
    "two hosts": request("Host: a", "Host: b", TYPE, LENGTH),
    "host that is none": request("Host: a b", TYPE, LENGTH),
    "HTTP/1.0": request("Host: a", TYPE, LENGTH, first=f"POST {ROUTE} HTTP/1.0"),
    "HTTP/1.0, kept": request("Host: a", TYPE, LENGTH, "Connection: keep-alive", first=f"POST {ROUTE} HTTP/1.0"),
    "HTTP/2.0": request("Host: a", TYPE, LENGTH, first=f"POST {ROUTE} HTTP/2.0"),
    "no version": request("Host: a", TYPE, LENGTH, first=f"POST {ROUTE}"),
    "small letters": request("Host: a", TYPE, LENGTH, first=f"post {ROUTE} HTTP/1.1"),
    "GET": request("Host: a", TYPE, LENGTH, first=f"GET {ROUTE} HTTP/1.1"),
    "HEAD": request("Host: a", TYPE, LENGTH, first=f"HEAD {ROUTE} HTTP/1.1"),
    "another path": request("Host: a", TYPE, LENGTH, first="POST /nowhere HTTP/1.1"),
    "slash behind": request("Host: a", TYPE, LENGTH, first=f"POST {ROUTE}/ HTTP/1.1"),
    "profile": request("Host: a", TYPE, LENGTH, first="POST /tsa/default HTTP/1.1"),
    "too many lines": usual(*[f"X-{number}: y" for number in range(98)]),
    "long head": usual(f"X: {'y' * 3000}"),
    "head too long": usual(f"X: {'y' * 20_000}"),
    "no HTTP": bytes(range(256)) * 4,
    "no HTTP, with an end": b"\x16\x03\x01 garbage\r\n\r\n",
}


class Stepped:
    """A server whose loop a test turns, and clients that send between its turns: nothing depends on time."""

    def __init__(self, app: Any, service: Service) -> None:
        sockets = listen(service.settings.server)
        self.address = sockets[0].getsockname()[:2]
        self.server = WaitressServer(app, service.settings.server, sockets=sockets)
        for each in self.server._servers:
            each.io_thread = threading.get_ident()

    def turn(self) -> None:
        for _ in range(_TURNS):
            self.server._turn(0.0)

    def exchange(self, *pieces: bytes) -> tuple[bytes, bool]:
        """Send pieces on one connection; returns what comes back, and whether the server has closed."""
        with socket.create_connection(self.address, 30) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            received, closed = bytearray(), False
            for piece in pieces:
                client.setblocking(True)
                try:
                    client.sendall(piece)
                except OSError:
                    closed = True
                self.turn()
                client.setblocking(False)
                closed = self._take(client, received) or closed
        self.turn()
        return bytes(received), closed

    @staticmethod
    def _take(client: socket.socket, received: bytearray) -> bool:
        while True:
            try:
                part = client.recv(65_536)
            except BlockingIOError:
                return False
            except OSError:
                return True
            if not part:
                return True
            received += part


@contextmanager
def stepped(*, forgets: bool = False, parts: Parts | None = None, **more: Any) -> Iterator[Stepped]:
    with open_service(parts, max_request_body_size=LIMIT, **more) as service:
        app = create_app(service)
        # A partial hides that the application takes requests without an environ.
        server = Stepped(partial(app) if forgets else app, service)
        try:
            yield server
        finally:
            server.server._drain_until = 0.0
            server.server._drain()
            server.server._close()


@pytest.fixture(scope="module")
def plain() -> Iterator[Stepped]:
    with stepped(forgets=True) as server:
        yield server


@pytest.fixture(scope="module")
def skipping() -> Iterator[Stepped]:
    with stepped() as server:
        yield server


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return what came as a usual request."""
    found: list[bytes] = []
    init = UsualRequest.__init__

    def spy(one: UsualRequest, generation: Any, head: Any, block: bytes, data: bytes) -> None:
        found.append(data)
        init(one, generation, head, block, data)

    monkeypatch.setattr(UsualRequest, "__init__", spy)
    return found


@dataclass(frozen=True)
class Verdict:
    """What a client sees, but for the time, the identifier that the server gave, and the token."""

    heads: list[bytes]
    bodies: list[object]
    closed: bool


def verdict(received: bytes, closed: bool) -> Verdict:
    heads: list[bytes] = []
    bodies: list[object] = []
    while received:
        head, found, received = received.partition(b"\r\n\r\n")
        assert found, head
        length = re.search(rb"\r\nContent-Length: (\d+)", head)
        size = int(length[1]) if length else 0
        body, received = received[:size], received[size:]
        granted = body[4:9] == GRANTED
        for name in (b"Date", b"X-Request-Id", *([b"Content-Length"] if granted else [])):
            head = re.sub(rb"\r\n%b: (?!client-7|%%s)[^\r]*" % name, rb"\r\n%b: ..." % name, head)
        heads.append(head)
        bodies.append("granted" if granted else re.sub(rb"0x[0-9a-f]+", b"", body))
    return Verdict(heads, bodies, closed)


@pytest.mark.parametrize("name", [*TAKEN, *LEFT])
def test_the_verdict_is_the_same(plain: Stepped, skipping: Stepped, taken: list[bytes], name: str) -> None:
    data = {**TAKEN, **LEFT}[name]
    Parser._cache.clear()
    octets = [data[at : at + 1] for at in range(len(data))]
    if len(octets) > 2000:  # what matters of these is in the head's lines
        octets = [data[:1000], *(data[at : at + 500] for at in range(1000, len(data), 500))]
    expected = verdict(*plain.exchange(*octets, GOOD))
    Parser._cache.clear()
    for _ in range(3):
        assert verdict(*skipping.exchange(data, GOOD)) == expected
    assert verdict(*skipping.exchange(GOOD, data, GOOD)).bodies[1:] == expected.bodies
    if name in TAKEN:
        assert taken.count(data) >= 2, "it was to skip the parser"
        assert expected.heads
    elif name != "blank line before":
        assert data not in taken


def test_the_limit_of_known_blocks_holds(skipping: Stepped) -> None:
    for number in range(300):
        skipping.exchange(usual(f"X: {number}"), usual(f"X: {number}"))
    live = skipping.server._servers[0].live
    assert 0 < len(live.generation.usual.usual_heads) <= 256


class Notes(Observer):
    def __init__(self) -> None:
        self.outcomes: list[RequestOutcome] = []

    def observe(self, outcome: RequestOutcome) -> None:
        self.outcomes.append(outcome)


def test_observers_and_trail_see_the_same(taken: list[bytes]) -> None:
    notes, sink = Notes(), TestSink()
    data = usual("X-Request-Id: client-7")
    with stepped(parts=Parts(observers=[notes], sinks=[sink])) as server:
        for _ in range(3):
            server.exchange(data)
        server.exchange(usual("X-Request-Id: client-7", body=OLD), usual("X-Request-Id: client-7", body=OLD))
        wait_until(lambda: len(notes.outcomes) == 5, seconds=30, what="all were observed")
    assert taken.count(data) == 2
    granted = [(each.request_id, each.client_address, each.profile, each.failure) for each in notes.outcomes[:3]]
    assert granted == [("client-7", "127.0.0.1", "default", None)] * 3
    assert len({each.failure for each in notes.outcomes[3:]}) == 1
    assert [record.request_id for record in sink.records] == ["client-7"] * 3


def test_a_selector_sees_the_headers(taken: list[bytes]) -> None:
    seen: list[tuple[str | None, ...]] = []

    class Selector(PolicySelector):
        def select(self, _request: object, context: RequestContext) -> None:
            names = ("X-Mine", "Content-Type", "content-length", "Wsgi.Input", "Remote-Addr")
            seen.append(tuple(map(context.header, names)))

    data = usual("X-Mine: a")
    with stepped(parts=Parts(selectors=[Selector()])) as server:
        for _ in range(3):
            server.exchange(data)
    assert taken.count(data) == 2
    assert seen[-3:] == [("a", "application/timestamp-query", str(len(BODY)), None, None)] * 3


class RemoteSigner(TestSigner):
    latency = "remote"


def test_one_that_waits_for_a_backend_goes_to_a_thread(taken: list[bytes]) -> None:
    with (
        stepped(parts=Parts(signers={"p256": RemoteSigner()})) as server,
        socket.create_connection(server.address, 30) as client,
    ):
        for _ in range(3):
            client.sendall(GOOD)
            received = bytearray()
            client.setblocking(False)

            def answered(client: socket.socket = client, received: bytearray = received) -> bool:
                server.turn()
                return not Stepped._take(client, received) and bool(received)

            wait_until(answered, seconds=30, what="it is answered")
            client.setblocking(True)
            assert verdict(bytes(received), closed=False).bodies == ["granted"]
    assert taken == [GOOD, GOOD]


def test_after_a_reload_the_new_configuration_answers_and_the_old_one_is_closed(taken: list[bytes]) -> None:
    """A connection that idles, and the block that it is known by, keep nothing of the old one."""
    with open_service(max_request_body_size=LIMIT) as service:
        live = LiveService(service, create_app)
        server = Stepped(live, service)
        with socket.create_connection(server.address, 30) as client:
            old = weakref.ref(live.generation.application)
            for number in range(4):
                client.sendall(GOOD)
                server.turn()
                assert GRANTED in client.recv(65_536)
                if number == 1:
                    live.prepare(service.settings)
                    live.commit()
                    wait_until(lambda: not retiring(), seconds=30, what="the old service is closed")
                    gc.collect()
                    assert old() is None
        assert taken == [GOOD, GOOD], "the block was new, known, new to the other configuration, and known"
        server.server._close()
        live.close()


def retiring() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "retire"]


def test_a_client_that_is_let_go_has_all_its_answers(taken: list[bytes]) -> None:
    """To end a connection after a reply would lose the request that has come behind it."""
    with stepped() as server:
        server.exchange(GOOD, GOOD)
        slots = server.server._slots
        slots.letting_go = 3
        received, closed = server.exchange(GOOD + GOOD)
        assert verdict(received, closed).bodies == ["granted", "granted"]
        assert received.count(b"Connection: close") == 1
        assert received.rpartition(b"HTTP/1.1 ")[2].count(b"Connection: close") == 1
        assert slots.letting_go == 2
        received, closed = server.exchange(GOOD, GOOD)
        assert (received.count(b"Connection: close"), closed, slots.letting_go) == (1, True, 1)
    assert taken == [GOOD, GOOD]


def test_requests_leave_no_garbage(skipping: Stepped) -> None:
    """What has been answered goes at once: what waits for a garbage collection costs memory, and time for all."""
    with socket.create_connection(skipping.address, 30) as client:

        def ask(data: bytes) -> None:
            client.sendall(data)
            skipping.turn()
            assert GRANTED in client.recv(65_536)

        ask(GOOD)
        ask(GOOD)
        gc.collect()
        gc.disable()
        try:
            for _ in range(100):
                ask(GOOD)
            assert gc.collect() < 100
            for _ in range(100):
                skipping.exchange(usual("Connection: close"))
            assert gc.collect() < 100
        finally:
            gc.enable()
