"""A request that waits for its signer alone: read on the I/O thread, signed in a thread, answered in a batch."""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

import pytest

from tests.conformance.plain_encoder import PlainRequest
from tests.conformance.replies import granted, read_reply, refused
from tests.gates import Gate
from tests.serving import QUERY, HttpReply, Parts, Server, TestSigner, TestSink, running_server
from tsa_core.api import AuditRecord, SignerUnavailable
from tsa_core.authority import BatchGuard, CauseKind, Causes, PluginCalls
from tsa_core.hosting.waitress.channel import Channel
from tsa_core.testing import encode_request, wait_until

SYSTEM_FAILURE = "03050600000040"
REQUEST = encode_request(b"signed in a thread")
THREADS = 4


class Remote(TestSigner):
    """A signer that waits for a backend: `before` is called ahead of each signature but the trial at start."""

    latency = "remote"
    sign_digest = None

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.before = before
        self.threads: list[str] = []

    def sign(self, message: bytes, *, timeout: float) -> bytes:
        name = threading.current_thread().name
        self.threads.append(name)
        if not name.startswith("trial"):
            self.before()
        return super().sign(message, timeout=timeout)


class Batches(TestSink):
    """Notes which thread stores how many records."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, int]] = []

    def write_all(self, records: Sequence[AuditRecord]) -> None:
        self.calls.append((threading.current_thread().name, len(records)))
        super().write_all(records)


def ask(server: Server) -> HttpReply:
    return server.post(REQUEST)


def read_body(replies: BinaryIO) -> bytes:
    """Return the body of the next reply on a connection."""
    length = 0
    while line := replies.readline().strip():
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return replies.read(length)


def test_the_thread_calls_the_signer_itself_and_the_loop_does_the_rest(gate: Gate) -> None:
    signer, sink = Remote(gate.pass_through), Batches()
    gate.go.clear()
    with running_server(Parts(signers={"p256": signer}, sinks=[sink])) as server, ThreadPoolExecutor(8) as clients:
        asked = [clients.submit(ask, server) for _ in range(8)]
        gate.wait_for(8)
        gate.go.set()
        serials = {granted(each.result(60).body).tst_info["serial_number"].native for each in asked}
    assert {name.partition("-")[0] for name in signer.threads[1:]} == {"waitress"}
    assert {name.partition("-")[0] for name, _ in sink.calls} == {"io"}
    assert sum(count for _, count in sink.calls) == 8
    assert serials == {record.serial_number for record in sink.records}


def test_pipelined_requests_are_answered_in_their_order() -> None:
    bodies = [PlainRequest(nonce=number).encode() for number in range(1, 9)]
    with (
        running_server(Parts(signers={"p256": Remote()})) as server,
        socket.create_connection(server.address, 60) as stream,
        stream.makefile("rb") as replies,
    ):
        for body in bodies:
            head = f"POST /api/v1/timestamp HTTP/1.1\r\nHost: a\r\nContent-Type: {QUERY}\r\n"
            stream.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        nonces = [granted(read_body(replies)).tst_info["nonce"].native for _ in bodies]
    assert nonces == list(range(1, 9))


@pytest.mark.parametrize("known", [False, True], ids=["new-header-block", "known-header-block"])
def test_what_was_signed_for_a_client_that_has_gone_has_its_record(known: bool, gate: Gate) -> None:
    sink = TestSink()
    head = f"POST /api/v1/timestamp HTTP/1.1\r\nHost: a\r\nContent-Type: {QUERY}\r\n"
    sent = f"{head}Content-Length: {len(REQUEST)}\r\n\r\n".encode() + REQUEST
    with running_server(Parts(signers={"p256": Remote(gate.pass_through)}, sinks=[sink])) as server:
        with socket.create_connection(server.address, 60) as stream, stream.makefile("rb") as replies:
            for _ in range(2 if known else 0):
                stream.sendall(sent)
                granted(read_body(replies))
            before = len(sink.records)
            gate.go.clear()
            stream.sendall(sent)
            gate.wait_for()
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert server.request("GET", "/ping").status == 200  # the loop has seen by now that the client has gone
        gate.go.set()
        wait_until(lambda: len(sink.records) == before + 1, seconds=60, what="the record is there")
        granted(ask(server).body)


@pytest.mark.parametrize("known", [False, True], ids=["new-header-block", "known-header-block"])
def test_what_was_signed_while_the_server_closed_its_connection_has_its_record(known: bool, gate: Gate) -> None:
    sink = TestSink()
    with running_server(Parts(signers={"p256": Remote(gate.pass_through)}, sinks=[sink])) as server:
        for _ in range(2 if known else 0):
            granted(ask(server).body)
        before = len(sink.records)
        gate.go.clear()
        with ThreadPoolExecutor(1) as clients:
            asked = clients.submit(ask, server)
            gate.wait_for()
            # As the limits on connections close them.
            for channel in [each for each in gc.get_objects() if isinstance(each, Channel) and each.requests]:
                channel.handle_close()
            gate.go.set()
            assert asked.exception(60) is not None
        wait_until(lambda: len(sink.records) == before + 1, seconds=60, what="the record is there")
        granted(ask(server).body)


def test_what_waits_goes_on_when_lost_signers_come_back(gate: Gate) -> None:
    """With one thread: two calls are lost, which is all that a pool may lose, and nobody asks afterwards."""
    signer, sink = Remote(gate.pass_through), TestSink()
    gate.go.clear()
    limits = {"default": {"signer_timeout": "300ms"}}
    with (
        running_server(
            Parts(signers={"p256": signer}, sinks=[sink]), profiles=limits, threads=1, queue_timeout="60s"
        ) as server,
        ThreadPoolExecutor(3) as clients,
    ):
        asked = [clients.submit(ask, server) for _ in range(3)]
        wait_until(lambda: sum(map(Future.done, asked)) == 2, seconds=60, what="two are refused")
        gate.go.set()
        replies = [read_reply(each.result(30).body) for each in asked]
    assert sum(each.token is not None for each in replies) == 1


def test_a_refusal_that_fails_ends_neither_the_server_nor_the_wait(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, gate: Gate
) -> None:
    limits = {"default": {"signer_timeout": "100ms"}}
    with running_server(Parts(signers={"p256": Remote(gate.pass_through)}), profiles=limits) as server:
        assert server.service is not None
        gate.go.clear()
        with monkeypatch.context() as patch:
            patch.setattr(server.service.authority.in_threads, "lose", lambda *_: 1 / 0)
            assert ask(server).status == 500
        assert server.request("GET", "/ping").status == 200
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("failure", [SystemExit(3), RuntimeError("a bug"), SignerUnavailable("down")])
def test_whatever_the_signer_raises_refuses_its_request_and_no_other(failure: BaseException) -> None:
    signer, sink = Remote(), TestSink()

    def fail() -> None:
        signer.before = lambda: None
        raise failure

    signer.before = fail
    with running_server(Parts(signers={"p256": signer}, sinks=[sink])) as server:
        refused(ask(server).body, SYSTEM_FAILURE)
        granted(ask(server).body)
    assert len(sink.records) == 1


def test_when_all_threads_hang_requests_are_refused_at_once_and_signed_again_afterwards(gate: Gate) -> None:
    signer, sink = Remote(gate.pass_through), TestSink()
    gate.go.clear()
    with (
        running_server(
            Parts(signers={"p256": signer}, sinks=[sink]),
            profiles={"default": {"signer_timeout": "100ms"}},
            threads=THREADS,
        ) as server,
        ThreadPoolExecutor(4 * THREADS) as clients,
    ):
        for reply in clients.map(ask, [server] * 4 * THREADS):
            refused(reply.body, SYSTEM_FAILURE)
        for _ in range(3):
            refused(ask(server).body, SYSTEM_FAILURE)
        assert sum(each.name.startswith("waitress-") for each in threading.enumerate()) <= 2 * THREADS
        assert server.request("GET", "/readyz").status == 503
        gate.go.set()
        wait_until(lambda: server.request("GET", "/readyz").status == 200, seconds=60, what="ready again")
        for reply in clients.map(ask, [server] * 4 * THREADS):
            granted(reply.body)
        wait_until(
            lambda: sum(each.name.startswith("waitress-") for each in threading.enumerate()) <= THREADS,
            seconds=60,
            what="the threads that hung have ended",
        )
    assert len(sink.records) == 4 * THREADS


def test_a_request_that_a_bug_left_unsigned_gets_an_error_and_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with running_server(Parts(signers={"p256": Remote()})) as server:
        assert server.service is not None
        with monkeypatch.context() as patch:
            patch.setattr(server.service.authority.in_threads, "sign", lambda *_: 1 / 0)
            assert ask(server).status == 500
        granted(ask(server).body)
    assert "ZeroDivisionError" in caplog.text


# -- the calls of a plugin in a thread that somebody else watches ------------------------------------------------------


def calls_of(hangs: Causes) -> PluginCalls:
    cause = hangs.add(CauseKind.SIGNER, "default")
    return PluginCalls("the signer 'x'", seconds=0.1, hangs=cause, error=SignerUnavailable, threads=2)


class Lost:
    """A call that was taken from its thread, which returns when told to."""

    def __init__(self, calls: PluginCalls) -> None:
        self.guard = BatchGuard()
        self._go = threading.Event()
        begun = threading.Event()

        def hang() -> None:
            begun.set()
            self._go.wait(60)

        self._thread = threading.Thread(target=calls.call_here, args=(hang, self.guard))
        self._thread.start()
        assert begun.wait(60)
        assert self.guard.take()

    def come_back(self) -> None:
        self._go.set()
        self._thread.join(60)
        self.guard.end()


def test_after_a_call_was_lost_one_at_a_time_tries_until_one_returns() -> None:
    causes = Causes()
    calls = calls_of(causes)
    lost = Lost(calls)
    assert calls.hangs.reason

    def nested() -> None:
        with pytest.raises(SignerUnavailable, match="hangs"):
            calls.call_here(lambda: 1, BatchGuard())

    calls.call_here(nested, BatchGuard())  # this one tries
    assert not calls.hangs.reason
    assert calls.call_here(lambda: 7, BatchGuard()) == 7
    lost.come_back()


def test_calls_that_were_lost_are_no_more_than_allowed() -> None:
    calls = calls_of(Causes())
    lost = [Lost(calls), Lost(calls)]
    with pytest.raises(SignerUnavailable, match="2 calls have not returned"):
        calls.call_here(lambda: 7, BatchGuard())
    for each in lost:
        each.come_back()
    assert not calls.hangs.reason
    assert calls.call_here(lambda: 7, BatchGuard()) == 7
