"""Batching: requests are read one by one and answered in batches."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conformance.plain_encoder import PlainRequest
from tests.conformance.replies import granted, refused
from tests.http_replies import next_reply, only_reply, replies_on
from tests.serving import (
    QUERY,
    CrashingResponder,
    Parts,
    Server,
    TestSigner,
    TestSink,
    application_that_cannot_answer,
    running_server,
)
from tsa_core.api import AuditError, AuditRecord, RequestContext
from tsa_core.authority import BatchGuard, PendingRequest, PluginCalls
from tsa_core.config import ServerSettings
from tsa_core.hosting.granian.loop_pools import LoopPools
from tsa_core.hosting.granian.loop_work import LoopWork
from tsa_core.hosting.granian.rsgi import RsgiApplication
from tsa_core.http.batching import Batch, BatchedRequest
from tsa_core.http.preparing import Preparer

GOOD = PlainRequest().encode()
CANNOT_SIGN = "03050600000040"


def head(size: int, path: str = "/api/v1/timestamp") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {QUERY}\r\nContent-Length: {size}\r\n\r\n".encode()


def numbered(number: int) -> bytes:
    return PlainRequest(nonce=number).encode()


# -- how many -------------------------------------------------------------------------------------------------------


class Application:
    """Answers a batch, and says that each request took `seconds`."""

    may_wait = False
    least_batch = 1
    preparer: Preparer

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.groups: list[list[Any]] = []

    def respond(self, batch: Sequence[BatchedRequest], _guard: BatchGuard) -> float:
        self.groups.append([each.connection for each in batch])
        return self.seconds * len(batch)

    def give_up(self, batch: Sequence[BatchedRequest], hanging: PluginCalls) -> None:
        raise AssertionError(f"{hanging.what} hangs, and {len(batch)} requests are given up")

    def sign(self, _request: BatchedRequest, _guard: BatchGuard) -> None:
        raise AssertionError("nothing waits")

    def lose(self, _request: BatchedRequest, _hanging: PluginCalls) -> None:
        raise AssertionError("nothing waits")

    def refuse_waiting(self, _request: BatchedRequest, _waited: float) -> None:
        raise AssertionError("nothing waits")

    def request(self, connection: object) -> BatchedRequest:
        request = BatchedRequest(self, PendingRequest(RequestContext(), None), {}, "")
        request.connection = connection
        return request


def sizes(application: Application, count: int) -> list[int]:
    """Return the sizes of the batches, when requests arrive faster than they are answered."""
    batch: Batch[BatchedRequest] = Batch(pytest.fail)
    for number in range(count):
        batch.add(application.request(number))
        if batch.full:
            batch.process()
    batch.process()
    assert [each for group in application.groups for each in group] == list(range(count))
    return [len(group) for group in application.groups]


def test_batches_grow_up_to_a_bound() -> None:
    assert sizes(Application(), 127) == [1, 2, 4, 8, 16, 32, 32, 32]


def test_where_two_threads_sign_a_batch_has_two_requests_with_the_slowest_key() -> None:
    application = Application(0.01)
    application.least_batch = 2
    assert sizes(application, 7) == [1, 2, 2, 2]


def test_with_a_slow_key_a_batch_is_one_request() -> None:
    assert sizes(Application(0.01), 5) == [1] * 5


def test_a_batch_takes_about_three_milliseconds() -> None:
    found = sizes(Application(0.0005), 100)
    assert max(found) == 8
    assert sum(found) / len(found) > 4


def test_a_key_that_becomes_slow_is_noticed() -> None:
    application = Application()
    batch: Batch[BatchedRequest] = Batch(pytest.fail)
    for number in range(63):
        batch.add(application.request(number))
        if batch.full:
            batch.process()
    application.seconds = 0.01
    for number in range(200):
        batch.add(application.request(number))
        if batch.full:
            batch.process()
    assert [len(group) for group in application.groups][-5:] == [1] * 5


def test_each_application_answers_its_own_requests_and_a_crash_closes_its_own(caplog: pytest.LogCaptureFixture) -> None:
    closed: list[object] = []
    batch: Batch[BatchedRequest] = Batch(closed.append)
    good = Application()

    class CrashesAfterOne(CrashingResponder):
        def respond(self, requests: Sequence[BatchedRequest], guard: BatchGuard) -> float:
            requests[0].answered = True
            return super().respond(requests, guard)

    crashing = CrashesAfterOne()
    for number in range(6):
        request = good.request(number)
        if number % 2:
            request.responder = crashing
        batch.add(request)
    assert len(batch.process()) == 6
    assert good.groups == [[0, 2, 4]]
    assert closed == [3, 5]
    assert "2 requests could not be answered" in caplog.text
    assert not batch.process()


def test_a_crash_after_all_replies_is_logged_and_costs_no_connection(caplog: pytest.LogCaptureFixture) -> None:
    closed: list[object] = []
    batch: Batch[BatchedRequest] = Batch(closed.append)

    class CrashesAfterAll(CrashingResponder):
        def respond(self, requests: Sequence[BatchedRequest], guard: BatchGuard) -> float:
            for each in requests:
                each.answered = True
            return super().respond(requests, guard)

    request = Application().request(0)
    request.responder = CrashesAfterAll()
    batch.add(request)
    batch.process()
    assert not closed
    assert [record.getMessage() for record in caplog.records] == ["requests could not be answered"]


# -- on servers -----------------------------------------------------------------------------------------------------

ENGINES = ["waitress", "granian"]


class Holding(TestSigner):
    """Waits at the first signature that a client asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.signing, self.go_on = threading.Event(), threading.Event()

    def sign(self, message: bytes, *, timeout: float) -> bytes:
        self.calls += 1
        if self.calls == 2:  # the first one is the trial at start
            self.signing.set()
            assert self.go_on.wait(30)
        return super().sign(message, timeout=timeout)


class Batches(TestSink):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

    def write_all(self, records: Sequence[AuditRecord]) -> None:
        self.calls.append(len(records))
        super().write_all(records)


@contextmanager
def waiting_requests(sink: TestSink, count: int, engine: str) -> Iterator[Callable[[], list[bytes]]]:
    """Have `count` requests come while the server is busy; yields what lets it go on and returns all replies."""
    signer = Holding()
    parts = Parts(signers={"p256": signer}, sinks=[sink])
    with running_server(parts, engine=engine) as server, ExitStack() as stack:
        first, *clients = [connect(server, stack) for _ in range(1 + count)]
        for client in clients:
            client.sendall(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
            assert only_reply(client).body
        first.sendall(head(len(GOOD)) + GOOD)
        assert signer.signing.wait(10)
        for number, client in enumerate(clients, 1):
            body = numbered(number)
            client.sendall(head(len(body)) + body)

        def go_on() -> list[bytes]:
            signer.go_on.set()
            return [only_reply(client).body for client in [first, *clients]]

        yield go_on


def connect(server: Server, stack: ExitStack) -> socket.socket:
    return stack.enter_context(socket.create_connection(server.address, timeout=30))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_sink_is_called_once_for_a_batch(engine: str) -> None:
    sink = Batches()
    with waiting_requests(sink, 31, engine) as go_on:
        replies = go_on()
    assert [granted(reply).tst_info["nonce"].native for reply in replies[1:]] == list(range(1, 32))
    assert sum(sink.calls) == 32
    assert max(sink.calls) > 4


@pytest.mark.parametrize("engine", ENGINES)
def test_no_token_leaves_that_a_sink_did_not_take(engine: str) -> None:
    sink = Batches()
    with waiting_requests(sink, 15, engine) as go_on:
        sink.failure = AuditError("full")
        for reply in go_on():
            refused(reply, CANNOT_SIGN)
    assert sink.records == []


def test_replies_to_pipelined_requests_of_both_kinds_leave_in_their_order() -> None:
    wanted = b"".join(
        head(len(body), path) + body
        for number in range(1, 41)
        for path in ["/api/v1/timestamp" if number % 4 else "/tsa/default"]
        for body in [numbered(number) if number % 3 else b"nonsense"]
    )
    with running_server() as server, ExitStack() as stack:
        client = connect(server, stack)
        client.sendall(wanted)
        stream = replies_on(client)
        for number in range(1, 41):
            reply = next_reply(stream).body
            if number % 3:
                assert granted(reply).tst_info["nonce"].native == number
            else:
                refused(reply, "03020204")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_client_that_has_gone_before_its_reply_harms_nobody(engine: str) -> None:
    signer = Holding()
    with running_server(Parts(signers={"p256": signer}), engine=engine) as server, ExitStack() as stack:
        first = connect(server, stack)
        first.sendall(head(len(GOOD)) + GOOD)
        assert signer.signing.wait(10)
        for number in range(1, 9):
            body = numbered(number)
            with socket.create_connection(server.address) as gone:
                gone.sendall(head(len(body)) + body)
        signer.go_on.set()
        granted(only_reply(first).body)
        granted(server.post(GOOD).body)


def test_a_crash_in_an_event_loop_is_an_answer() -> None:
    class Protocol:
        def __init__(self) -> None:
            self.statuses: list[int] = []

        async def __call__(self) -> bytes:
            return b""

        def response_str(self, status: int, _headers: object, _body: str) -> None:
            self.statuses.append(status)

    work = LoopWork()
    rsgi = RsgiApplication(
        application_that_cannot_answer, max_body=0, read_seconds=1, work=work, pools=LoopPools(ServerSettings())
    )
    scope = SimpleNamespace(
        proto="http",
        http_version="1.1",
        method="POST",
        path="/",
        query_string="",
        scheme="http",
        server="127.0.0.1:1",
        client="127.0.0.1:2",
        authority=None,
        headers={"host": "x", "content-length": "0"},
    )
    protocols = [Protocol() for _ in range(5)]

    async def serve() -> None:
        work.follow(asyncio.get_running_loop())
        await asyncio.gather(*(rsgi(scope, protocol) for protocol in protocols))

    asyncio.run(serve())
    assert [protocol.statuses for protocol in protocols] == [[500]] * 5
    assert rsgi.pending == 0
