"""A plugin that says that it does not wait, and does: another thread takes over the loop, and clients get an answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.conformance.replies import granted, read_reply, refused
from tests.gates import Gate
from tests.serving import QUERY, HttpReply, Parts, Server, TestSigner, TestSink, running_server
from tsa_core.api import (
    AuditRecord,
    PolicySelector,
    RequestContext,
    ResponseProcessor,
    TimeStampReq,
    TokenDraft,
)
from tsa_core.hosting.waitress.poller import Poller
from tsa_core.testing import encode_request, ends_within, wait_until

SYSTEM_FAILURE = "03050600000040"
REQUEST = encode_request(b"here")
ENGINES = ["waitress", "granian"]


class Disk(TestSink):
    """A sink that hangs in `write_all`, and stores the records afterwards."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate

    def write_all(self, records: Sequence[AuditRecord]) -> None:
        self.gate.pass_through()
        super().write_all(records)


class Processor(ResponseProcessor):
    latency = "local"

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def process(self, response: bytes, draft: TokenDraft) -> bytes:
        self.gate.pass_through()
        return response


class Selector(PolicySelector):
    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def select(self, request: TimeStampReq, context: RequestContext) -> str | None:
        if not context.request_id.startswith("trial"):
            self.gate.pass_through()
        return None


class HangingSigner(TestSigner):
    """A key that is local, and hangs."""

    sign_digest = None

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate

    def sign(self, message: bytes, *, timeout: float) -> bytes:
        self.gate.pass_through()
        return super().sign(message, timeout=timeout)


def is_granted(server: Server) -> bool:
    return read_reply(server.post(REQUEST).body).token is not None


def ask_all(server: Server) -> None:
    for path in ("/ping", "/healthz", "/readyz", "/"):
        assert server.request("GET", path).status in {200, 503}


@contextmanager
def asked(server: Server, count: int) -> Iterator[list[Future[HttpReply]]]:
    with ThreadPoolExecutor(count) as pool:
        yield [pool.submit(server.post, REQUEST) for _ in range(count)]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_disk_that_hangs_for_a_moment_costs_time_and_no_request(engine: str, gate: Gate) -> None:
    disk = Disk(gate)
    with running_server(Parts(sinks=[disk]), engine=engine) as server:
        gate.go.clear()
        with asked(server, 8) as futures:
            gate.wait_for()
            for _ in range(3):
                ask_all(server)
            assert not any(future.done() for future in futures)
            gate.go.set()
            serials = {granted(future.result(60).body).tst_info["serial_number"].native for future in futures}
        assert serials == {record.serial_number for record in disk.records}
        assert len(serials) == 8


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["sink", "processor"])
def test_what_hangs_for_longer_is_refused_and_what_comes_behind_it_too(kind: str, engine: str, gate: Gate) -> None:
    disk = Disk(gate)
    parts = Parts(sinks=[disk]) if kind == "sink" else Parts(processors=[Processor(gate)])
    table = {"audit": {"sink_timeout": "300ms"}} if kind == "sink" else {"response": {"processor_timeout": "300ms"}}
    with running_server(parts, tables=table, engine=engine) as server:
        granted(server.post(REQUEST).body)
        gate.go.clear()
        with asked(server, 8) as futures:
            gate.wait_for()
            for future in futures:
                refused(future.result(60).body, SYSTEM_FAILURE)
        for _ in range(3):
            refused(server.post(REQUEST).body, SYSTEM_FAILURE)
            ask_all(server)
        assert server.post_json({"artifactHash": "A" * 43 + "=", "hashAlgorithm": "sha256"}).status == 503
        wait_until(lambda: server.request("GET", "/readyz").status == 503, seconds=60, what="/readyz is red")
        gate.go.set()
        wait_until(
            lambda: read_reply(server.post(REQUEST).body).token is not None, seconds=60, what="a token is issued"
        )
        wait_until(lambda: server.request("GET", "/readyz").status == 200, seconds=60, what="/readyz is green")


def test_many_that_hang_in_turn_leave_no_thread_behind(gate: Gate) -> None:
    others = set(threading.enumerate())
    with running_server(Parts(sinks=[Disk(gate)])) as server:
        for _ in range(20):
            gate.go.clear()
            with asked(server, 2) as futures:
                gate.wait_for()
                ask_all(server)
                gate.go.set()
                for future in futures:
                    granted(future.result(60).body)

        def of_the_loop() -> int:
            return sum(thread.name.startswith("io-") for thread in set(threading.enumerate()) - others)

        wait_until(lambda: of_the_loop() == 2, seconds=60, what="those that were overtaken have ended")


def test_replies_to_pipelined_requests_keep_their_order_while_one_hangs(gate: Gate) -> None:
    with (
        running_server(Parts(sinks=[Disk(gate)])) as server,
        socket.create_connection(server.address, timeout=60) as client,
    ):
        gate.go.clear()
        head = f"POST /api/v1/timestamp HTTP/1.1\r\nHost: a\r\nContent-Type: {QUERY}\r\n"
        stamp = f"{head}Content-Length: {len(REQUEST)}\r\n\r\n".encode() + REQUEST
        ping = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
        client.sendall(stamp)
        gate.wait_for()
        client.sendall(ping + stamp + ping)
        ask_all(server)
        gate.go.set()
        stream = client.makefile("rb")
        bodies = []
        for _ in range(4):
            length = 0
            while (line := stream.readline()) not in {b"\r\n", b""}:
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            bodies.append(stream.read(length))
        assert bodies[1] == bodies[3] == b"."
        for body in (bodies[0], bodies[2]):
            granted(body)


def test_a_client_that_leaves_while_its_request_hangs_harms_nobody(gate: Gate) -> None:
    with running_server(Parts(sinks=[Disk(gate)]), tables={"audit": {"sink_timeout": "300ms"}}) as server:
        gate.go.clear()
        for _ in range(3):
            with socket.create_connection(server.address, timeout=60) as client:
                head = f"POST /api/v1/timestamp HTTP/1.1\r\nHost: a\r\nContent-Type: {QUERY}\r\n"
                client.sendall(f"{head}Content-Length: {len(REQUEST)}\r\n\r\n".encode() + REQUEST)
        gate.wait_for()
        refused(server.post(REQUEST).body, SYSTEM_FAILURE)
        gate.go.set()
        wait_until(
            lambda: read_reply(server.post(REQUEST).body).token is not None, seconds=60, what="a token is issued"
        )


@pytest.mark.parametrize("engine", ENGINES)
def test_a_selector_that_hangs_stops_its_own_requests_alone(engine: str, gate: Gate) -> None:
    """However many ask: one thread hangs, and the others wait within the selector's limit, or are refused at once."""
    limit = {"policy": {"selector_timeout": "300ms"}}
    with running_server(Parts(selectors=[Selector(gate)]), engine=engine, tables=limit) as server:
        granted(server.post(REQUEST).body)
        gate.go.clear()
        with asked(server, 40) as futures:
            gate.wait_for()
            wait_until(lambda: sum(map(Future.done, futures)) == 39, seconds=60, what="all others are refused")
            ask_all(server)
            gate.go.set()
            assert sum(read_reply(future.result(60).body).token is not None for future in futures) == 1


def test_what_a_selector_held_for_a_moment_is_sent_when_it_is_answered(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread has become the I/O thread meanwhile; it does not wait for the sweep, which looks at all."""
    monkeypatch.setattr(Poller, "refresh_all", lambda _: None)
    with running_server(Parts(selectors=[Selector(gate)]), tables={"policy": {"selector_timeout": "60s"}}) as server:
        granted(server.post(REQUEST).body)
        gate.go.clear()
        with asked(server, 1) as futures:
            gate.wait_for()
            assert server.request("GET", "/ping").status == 200  # by the other thread
            gate.go.set()
            granted(futures[0].result(20).body)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_local_signer_that_hangs_is_called_within_its_limit_for_requests_in_no_batch(engine: str, gate: Gate) -> None:
    profiles = {"slow": {"signer": "test:slow", "signer_timeout": "300ms"}}
    parts = Parts(signers={"p256": TestSigner(), "slow": HangingSigner(gate)})
    with running_server(parts, profiles=profiles, engine=engine) as server:
        gate.go.clear()
        with ThreadPoolExecutor(40) as pool:
            futures = [pool.submit(server.post, REQUEST, path="/tsa/slow") for _ in range(40)]
            gate.wait_for()
            wait_until(lambda: sum(map(Future.done, futures)) == 39, seconds=60, what="all others are refused")
            ask_all(server)
            granted(server.post(REQUEST).body)
            gate.go.set()
            assert sum(read_reply(future.result(60).body).token is not None for future in futures) == 1


def test_the_end_does_not_wait_for_what_hangs_and_counts_it(gate: Gate) -> None:
    with running_server(Parts(sinks=[Disk(gate)]), graceful_timeout="200ms") as server:
        gate.go.clear()
        with socket.create_connection(server.address, timeout=60) as client:
            head = f"POST /api/v1/timestamp HTTP/1.1\r\nHost: a\r\nContent-Type: {QUERY}\r\n"
            client.sendall(f"{head}Content-Length: {len(REQUEST)}\r\n\r\n".encode() + REQUEST)
            gate.wait_for()
            assert server.stop is not None
            with ends_within(1):
                assert server.stop() == 1
            assert client.recv(1) == b""
        gate.go.set()
