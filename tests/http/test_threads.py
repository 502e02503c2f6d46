"""Signers that wait for a backend: as many signatures at once as there are threads, and a queue that ends."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from asn1crypto import parser, tsp

from tests.serving import HttpReply, Parts, TestSigner, running_server
from tsa_core.api import SignerUnavailable
from tsa_core.config import ServerSettings
from tsa_core.testing import encode_request

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


@pytest.mark.parametrize("json", [False, True])
def test_request_that_waited_too_long_for_a_thread_is_refused(json: bool) -> None:
    signer = HangingSigner()

    def ask() -> HttpReply:
        if json:
            return server.post_json(
                {"artifactHash": "n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg=", "hashAlgorithm": "sha256"}
            )
        return server.post(REQUEST)

    with (
        running_server(Parts(signers={"p256": signer}), threads=2, queue_timeout="300ms") as server,
        ThreadPoolExecutor(12) as pool,
    ):
        signer.go.clear()
        first = [pool.submit(ask) for _ in range(2)]
        for _ in first:
            assert signer.waiting.acquire(timeout=10)
        rest = [pool.submit(ask) for _ in range(10)]
        # Time has to pass here: it is what the rule is about.
        time.sleep(0.8)
        assert not any(future.done() for future in rest)
        signer.go.set()
        granted = {future.result(10).status for future in first}
        late = [future.result(10) for future in rest]
        assert granted == {200}
        if json:
            assert {reply.status for reply in late} == {503}
        else:
            assert {status(reply) for reply in late} == {"rejection, system_failure"}
            assert all(b"too many requests are waiting" in reply.body for reply in late)
        assert ask().status == 200


def test_request_in_time_is_not_refused() -> None:
    with running_server(Parts(), inline=False, threads=1, queue_timeout="10s") as server, ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: server.post(REQUEST), range(32)))
    assert {status(reply) for reply in replies} == {"granted"}
