"""What the I/O thread does for a request before and after a thread of a pool has signed it: in batches."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.conformance.replies import granted, refused
from tests.gates import Gate
from tests.serving import QUERY, Parts, TestClock, TestSigner, TestSink, open_service, running_server
from tsa_core.api import ClockError, Observer, RequestContext, RequestOutcome
from tsa_core.authority import BatchGuard
from tsa_core.protocol.signatures import SignatureAlgorithm
from tsa_core.testing import encode_request

SYSTEM_FAILURE = "03050600000040"
TIME_NOT_AVAILABLE = "0303010002"
REQUEST = encode_request(b"prepared")
TIMEOUT = {"default": {"signer_timeout": "300ms"}}


class Remote(TestSigner):
    """A signer that waits for a backend: at `gate` in threads of the pool, if there is one."""

    latency = "remote"
    sign_digest = None

    def __init__(self, kind: str = "p256", gate: Gate | None = None) -> None:
        super().__init__(kind)
        self.gate = gate
        self.spoils = False

    def sign(self, message: bytes, *, timeout: float) -> bytes:
        if self.gate is not None and threading.current_thread().name.startswith("waitress"):
            self.gate.pass_through()
        return super().sign(message + b"!" if self.spoils else message, timeout=timeout)


class Every(Observer):
    def __init__(self) -> None:
        self.outcomes: list[RequestOutcome] = []

    def observe(self, outcome: RequestOutcome) -> None:
        self.outcomes.append(outcome)


def role() -> str:
    """Return what kind of thread this one is."""
    return threading.current_thread().name.partition("-")[0]


def test_requests_that_are_prepared_together_share_one_reading_of_the_clock() -> None:
    readings: list[datetime] = []

    def read() -> datetime:
        now = datetime.now(UTC)
        if threading.current_thread() is threading.main_thread():  # others watch the clock
            readings.append(now)
        return now

    parts = Parts(signers={"p256": Remote()}, clock=TestClock(read))
    with open_service(parts, profiles={"default": {"fraction_digits": 6}}) as service:
        authority = service.authority
        batch = [authority.admit(REQUEST, RequestContext(), may_wait=True) for _ in range(8)]
        readings.clear()
        authority.in_threads.prepare(batch, BatchGuard())
        read_before_signing = list(readings)
        for pending in batch:
            authority.in_threads.sign(pending, BatchGuard())
        authority.respond_batch(batch)
        infos = [granted(pending.answered.der).tst_info for pending in batch]
    assert {info["gen_time"].native for info in infos} <= set(read_before_signing)
    assert len({info["gen_time"].native for info in infos}) == 1
    assert len({info["serial_number"].native for info in infos}) == 8
    assert readings == read_before_signing


def test_an_ordered_clock_is_waited_for_in_threads_and_not_where_others_are_answered() -> None:
    readers: set[str] = set()

    def read() -> datetime:
        readers.add(role())
        return datetime.now(UTC)

    parts = Parts(signers={"p256": Remote()}, clock=TestClock(read))
    ordered = {"default": {"ordering": True, "fraction_digits": 3}}
    with running_server(parts, profiles=ordered) as server, ThreadPoolExecutor(8) as clients:
        readers.clear()
        asked = [clients.submit(server.post, REQUEST) for _ in range(32)]
        infos = [granted(each.result(60).body).tst_info for each in asked]
    assert "waitress" in readers
    assert "io" not in readers
    assert len({info["gen_time"].native for info in infos}) == 32


def test_a_clock_without_time_refuses_what_is_ordered_before_the_signer_is_asked() -> None:
    def fail() -> datetime:
        raise ClockError("the clock has stopped")

    clock, signer = TestClock(), Remote()
    with open_service(
        Parts(signers={"p256": signer}, clock=clock), profiles={"default": {"ordering": True, "fraction_digits": 3}}
    ) as service:
        authority = service.authority
        pending = authority.admit(REQUEST, RequestContext(), may_wait=True)
        clock.read = fail
        signer.failure = AssertionError("the signer was asked")
        authority.in_threads.prepare([pending], BatchGuard())
        authority.in_threads.sign(pending, BatchGuard())
        authority.respond_batch([pending])
        refused(pending.answered.der, TIME_NOT_AVAILABLE)


def test_a_clock_without_time_refuses_before_the_signer_is_asked() -> None:
    def fail() -> datetime:
        raise ClockError("the clock has stopped")

    clock, sink = TestClock(), TestSink()
    with running_server(Parts(signers={"p256": Remote()}, clock=clock, sinks=[sink]), threads=1) as server:
        granted(server.post(REQUEST).body)
        works, clock.read = clock.read, fail
        for _ in range(3):  # more than there are threads
            refused(server.post(REQUEST).body, TIME_NOT_AVAILABLE)
        clock.read = works
        granted(server.post(REQUEST).body)
    assert len(sink.records) == 2


def test_a_clock_that_hangs_refuses_what_waits_for_a_signer_and_nothing_else(gate: Gate) -> None:
    def read() -> datetime:
        if role() == "io":
            gate.pass_through()
        return datetime.now(UTC)

    parts = Parts(signers={"p256": Remote()}, clock=TestClock(read))
    with running_server(parts, profiles=TIMEOUT, threads=2) as server, ThreadPoolExecutor(6) as clients:
        granted(server.post(REQUEST).body)
        gate.go.clear()
        asked = [clients.submit(server.post, REQUEST) for _ in range(6)]
        gate.wait_for()
        assert server.request("GET", "/ping").status == 200
        for each in asked:
            refused(each.result(60).body, SYSTEM_FAILURE)
        refused(server.post(REQUEST).body, SYSTEM_FAILURE)
        gate.go.set()
        for each in [clients.submit(server.post, REQUEST) for _ in range(6)]:
            granted(each.result(60).body)


def test_a_bug_where_requests_are_prepared_costs_their_replies_and_no_thread(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with running_server(Parts(signers={"p256": Remote()}), threads=1) as server:
        assert server.service is not None
        with monkeypatch.context() as patch:
            patch.setattr(server.service.authority.in_threads, "prepare", lambda *_: 1 / 0)
            for _ in range(3):
                refused(server.post(REQUEST).body, SYSTEM_FAILURE)
        granted(server.post(REQUEST).body)
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(("kind", "verifier"), [("p256", "io"), ("p384", "waitress")])
def test_what_is_quick_to_verify_is_verified_in_batches_and_the_rest_in_threads(
    kind: str, verifier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifiers: list[str] = []
    is_valid = SignatureAlgorithm.is_valid

    def note(self: SignatureAlgorithm, *arguments: Any) -> bool:
        verifiers.append(role())
        return is_valid(self, *arguments)

    with running_server(Parts(signers={"p256": Remote(kind)})) as server:
        monkeypatch.setattr(SignatureAlgorithm, "is_valid", note)
        granted(server.post(REQUEST).body)
        monkeypatch.undo()
    assert verifiers == [verifier]


@pytest.mark.parametrize("kind", ["p256", "p384"])
def test_a_signature_that_does_not_verify_leaves_with_no_token_and_has_no_record(kind: str) -> None:
    signer, sink, every = Remote(kind), TestSink(), Every()
    with running_server(Parts(signers={"p256": signer}, sinks=[sink], observers=[every])) as server:
        signer.spoils = True
        refused(server.post(REQUEST).body, SYSTEM_FAILURE)
        assert server.request("GET", "/readyz").status == 503
        signer.spoils = False
        granted(server.post(REQUEST).body)
        assert server.request("GET", "/readyz").status == 200
    assert len(sink.records) == 1
    assert [each.failed_phase for each in every.outcomes] == ["sign", None]


def test_the_end_waits_for_what_is_signed_for_a_client_that_has_gone(gate: Gate) -> None:
    sink = TestSink()
    head = (
        f"POST /api/v1/timestamp HTTP/1.1\r\nHost: a\r\nContent-Type: {QUERY}\r\nContent-Length: {len(REQUEST)}\r\n\r\n"
    )
    with (
        running_server(Parts(signers={"p256": Remote(gate=gate)}, sinks=[sink])) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        with socket.create_connection(server.address, 60) as stream:
            stream.sendall(head.encode() + REQUEST)
            assert stream.recv(1)  # a connection that has had a reply is watched
            gate.go.clear()
            stream.sendall(head.encode() + REQUEST)
            gate.wait_for()
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert server.request("GET", "/ping").status == 200  # the loop has seen by now that the client has gone
        assert server.stop is not None
        end = pool.submit(server.stop)
        with pytest.raises(TimeoutError):
            end.result(0.5)
        gate.go.set()
        assert end.result(60) == 0
        assert len(sink.records) == 2
