"""Signers that wait for a backend: threads and a queue for each profile, bounded in length and age."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
from asn1crypto import parser, tsp

from tests.serving import QUERY, HttpReply, Parts, Server, TestSigner, running_server
from tsa_core.api import Signer, SignerUnavailable
from tsa_core.config import ServerSettings
from tsa_core.testing import encode_request, wait_until

REQUEST = encode_request(b"in a thread")


class MeetingSigner(TestSigner):
    """Signs only when `count` signatures are in progress at the same time."""

    latency = "remote"

    def __init__(self, count: int) -> None:
        super().__init__()
        self._meeting = threading.Barrier(count)
        self.started = False

    def sign(self, message: bytes, *, timeout: float) -> bytes:
        if self.started:
            try:
                self._meeting.wait(20)
            except threading.BrokenBarrierError:
                raise SignerUnavailable("not enough signatures were in progress at once") from None
        return super().sign(message, timeout=timeout)


class HangingSigner(TestSigner):
    """Signs when it is let go."""

    latency = "remote"

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.go.set()
        self.waiting = threading.Semaphore(0)

    def sign(self, message: bytes, *, timeout: float) -> bytes:
        if not self.go.is_set():
            self.waiting.release()
            self.go.wait(20)
        return super().sign(message, timeout=timeout)


def status(reply: HttpReply) -> str:
    info = tsp.PKIStatusInfo.load(parser.parse(reply.body)[4], strict=False)
    return ", ".join([info["status"].native, *sorted(info["fail_info"].native or ())])


def test_default_allows_64_signatures_at_once() -> None:
    assert ServerSettings().threads == 64
    signer = MeetingSigner(64)
    with running_server(Parts(signers={"p256": signer})) as server, ThreadPoolExecutor(64) as pool:
        signer.started = True
        replies = list(pool.map(lambda _: server.post(REQUEST), range(64)))
    assert {status(reply) for reply in replies} == {"granted"}


def test_threads_are_a_setting() -> None:
    signer = MeetingSigner(100)
    with running_server(Parts(signers={"p256": signer}), threads=100) as server, ThreadPoolExecutor(100) as pool:
        signer.started = True
        replies = list(pool.map(lambda _: server.post(REQUEST), range(100)))
    assert {status(reply) for reply in replies} == {"granted"}


@contextmanager
def hanging(*, threads: int, asked: int, others: Mapping[str, Signer] | None = None, **server: Any) -> Iterator[Hung]:
    """Serve with a default profile that hangs, `asked` requests for it begun, until the block ends."""
    signer = HangingSigner()
    signers = {"p256": signer, **(others or {})}
    profiles = {f"other{number}": {"signer": f"test:{name}"} for number, name in enumerate(others or {})}
    parts = Parts(signers=signers)
    with (
        running_server(parts, profiles=profiles or None, threads=threads, **server) as running,
        ThreadPoolExecutor(asked) as pool,
    ):
        signer.go.clear()
        try:
            futures = [pool.submit(running.post, REQUEST) for _ in range(asked)]
            for _ in range(min(threads, asked)):
                assert signer.waiting.acquire(timeout=10)
            yield Hung(running, signer, futures)
        finally:
            signer.go.set()


@dataclass(frozen=True)
class Hung:
    server: Server
    signer: HangingSigner
    asked: list[Future[HttpReply]]

    def answered(self, count: int) -> list[HttpReply]:
        """Wait until `count` of the requests are answered, and return these answers."""
        deadline = time.monotonic() + 10
        while sum(future.done() for future in self.asked) < count:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return [future.result() for future in self.asked if future.done()]


def test_requests_that_wait_too_long_are_refused_while_the_backend_still_hangs() -> None:
    with hanging(threads=2, asked=12, queue_timeout="300ms") as hung:
        late = hung.answered(10)
        assert {status(reply) for reply in late} == {"rejection, system_failure"}
        assert all(b"too many requests are waiting" in reply.body for reply in late)
        hung.signer.go.set()
        assert (
            sorted(status(reply) for reply in hung.answered(12)) == ["granted"] * 2 + ["rejection, system_failure"] * 10
        )
        assert status(hung.server.post(REQUEST)) == "granted"


def test_a_json_request_that_waits_too_long_gets_503() -> None:
    document = {"artifactHash": "n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg=", "hashAlgorithm": "sha256"}
    with hanging(threads=1, asked=1, queue_timeout="100ms") as hung:
        reply = hung.server.post_json(document)
        assert reply.status == 503
        assert json.loads(reply.body) == {"code": 503, "message": "Error generating timestamp response"}


def test_a_full_queue_refuses_at_once() -> None:
    with hanging(threads=1, asked=5, queue_limit=2, queue_timeout="60s") as hung:
        refused = hung.answered(2)
        assert {status(reply) for reply in refused} == {"rejection, system_failure"}
        assert all(b"too many requests are waiting" in reply.body for reply in refused)
        hung.signer.go.set()
        assert sorted(status(reply) for reply in hung.answered(5))[:3] == ["granted"] * 3


@pytest.mark.parametrize("latency", ["local", "remote"])
def test_a_hanging_backend_is_nobody_elses_trouble(latency: Literal["local", "remote"]) -> None:
    other = TestSigner("p384")
    other.latency = latency
    with hanging(threads=3, asked=40, others={"p384": other}, queue_timeout="60s") as hung:
        replies = [hung.server.post(REQUEST, path="/tsa/other0") for _ in range(50)]
        assert {status(reply) for reply in replies} == {"granted"}
        assert hung.server.request("GET", "/healthz").status == 200
        assert not any(future.done() for future in hung.asked)


def test_local_profiles_run_on_the_io_thread_beside_waiting_ones() -> None:
    threads: dict[str, set[str]] = {"p256": set(), "p384": set()}

    class Noting(TestSigner):
        def __init__(self, kind: str, latency: Literal["local", "remote"]) -> None:
            super().__init__(kind)
            self.kind = kind
            self.latency = latency

        def sign(self, message: bytes, *, timeout: float) -> bytes:
            threads[self.kind].add(threading.current_thread().name)
            return super().sign(message, timeout=timeout)

    signers = {"p256": Noting("p256", "local"), "p384": Noting("p384", "remote")}
    with running_server(Parts(signers=signers), profiles={"other": {"signer": "test:p384"}}) as server:
        for names in threads.values():
            names.clear()  # the trial signatures
        for path in ("/api/v1/timestamp", "/tsa/other"):
            assert status(server.post(REQUEST, path=path)) == "granted"
    assert all(name.startswith("io-") for name in threads["p256"])
    assert threads["p384"]
    assert not any(name.startswith("io-") for name in threads["p384"])


def test_readiness_does_not_wait_for_a_trial_signature_that_hangs() -> None:
    with hanging(threads=1, asked=1) as hung:
        service = hung.server.service
        assert service is not None
        # So that a trial signature is made, which hangs.
        service.authority.profiles["default"].signing.set("the test says so")
        assert hung.signer.waiting.acquire(timeout=10)
        assert hung.server.request("GET", "/readyz").status == 503
        assert hung.server.request("GET", "/ping").status == 200
        hung.signer.go.set()
        wait_until(lambda: hung.server.request("GET", "/readyz").status == 200, seconds=60, what="ready again")


def test_a_request_in_time_is_not_refused() -> None:
    signer = MeetingSigner(1)
    with (
        running_server(Parts(signers={"p256": signer}), threads=1, queue_timeout="10s") as server,
        ThreadPoolExecutor(8) as pool,
    ):
        replies = list(pool.map(lambda _: server.post(REQUEST), range(32)))
    assert {status(reply) for reply in replies} == {"granted"}


def test_a_client_that_leaves_the_queue_does_no_harm() -> None:
    with hanging(threads=1, asked=1, queue_timeout="60s") as hung:
        address = urlsplit(hung.server.url)
        for _ in range(5):
            with socket.create_connection((address.hostname or "", address.port or 0), timeout=10) as connection:
                head = f"POST /api/v1/timestamp HTTP/1.1\r\nHost: x\r\nContent-Type: {QUERY}\r\n"
                connection.sendall(f"{head}Content-Length: {len(REQUEST)}\r\n\r\n".encode() + REQUEST)
        hung.signer.go.set()
        assert [status(reply) for reply in hung.answered(1)] == ["granted"]
        assert status(hung.server.post(REQUEST)) == "granted"


def test_a_system_that_allows_no_more_threads_costs_threads_and_not_the_server(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As where a container's limit of processes is reached: what there is goes on, the rest waits or is refused."""
    start = threading.Thread.start

    def start_few(thread: threading.Thread) -> None:
        if thread.name in allowed or not thread.name.startswith("waitress-"):
            start(thread)
        else:
            raise RuntimeError("can't start new thread")

    allowed: set[str] = set()
    monkeypatch.setattr(threading.Thread, "start", start_few)
    signer = TestSigner()
    signer.latency = "remote"
    with running_server(Parts(signers={"p256": signer}), threads=8) as server, ThreadPoolExecutor(6) as pool:
        assert status(server.post(REQUEST)) == "rejection, system_failure"
        allowed.update({"waitress-0", "waitress-1"})
        assert [status(reply) for reply in pool.map(server.post, [REQUEST] * 40)] == ["granted"] * 40
    assert "can have no more: can't start new thread" in caplog.text
