"""Batching in granian workers: each request is answered once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.plain_encoder import PlainRequest
from tests.conformance.replies import granted, refused
from tests.serving import Parts, TestSigner, application_that_cannot_answer, open_service, wsgi_environ
from tsa_core.http import create_app
from tsa_core.service import Service
from tsa_core.testing import wait_until

if TYPE_CHECKING:
    from tsa_core.hosting.granian.runner import GranianRunner

pytestmark = pytest.mark.package("granian")


class Protocol:
    """What granian gives for a request: takes one reply."""

    def __init__(self) -> None:
        self.replies: list[tuple[int, list[tuple[str, str]], bytes]] = []

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.replies.append((status, headers, body))

    @property
    def status(self) -> int:
        wait_until(lambda: bool(self.replies), seconds=10, what="there is a reply")
        return self.replies[0][0]

    @property
    def body(self) -> bytes:
        assert self.status == 200
        ((_, headers, body),) = self.replies
        assert dict(headers)["content-length"] == str(len(body))
        return body


class Counting(TestSigner):
    """Tells in which thread it signs."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[str] = []

    def sign(self, message: bytes, *, timeout: float) -> bytes:
        self.threads.append(threading.current_thread().name)
        return super().sign(message, timeout=timeout)


@pytest.fixture
def signer() -> Counting:
    return Counting()


@pytest.fixture
def service(signer: Counting) -> Iterator[Service]:
    with open_service(Parts(signers={"p256": signer})) as opened:
        yield opened


@pytest.fixture
def runner(service: Service) -> GranianRunner:
    from tsa_core.hosting.granian.runner import GranianRunner

    return GranianRunner(create_app(service))


def numbered(number: int) -> bytes:
    return PlainRequest(nonce=number).encode()


def test_granian_has_the_function_that_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    from granian.server import mp

    from tsa_core.hosting.granian import runner as granian_runner

    assert callable(vars(mp)[granian_runner._CALLER])
    monkeypatch.setattr(mp, granian_runner._CALLER, None)
    granian_runner.batch_requests()
    app = vars(mp)[granian_runner._CALLER](lambda _environ, _start: [], {}, None)
    assert isinstance(app, granian_runner.GranianRunner)


def test_without_that_function_nothing_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    from granian.server import mp

    from tsa_core.hosting.granian import runner as granian_runner

    monkeypatch.delattr(mp, granian_runner._CALLER)
    granian_runner.batch_requests()
    assert not hasattr(mp, granian_runner._CALLER)


def test_each_request_gets_its_reply_once(runner: GranianRunner) -> None:
    protocols = [Protocol() for _ in range(200)]
    for number, protocol in enumerate(protocols, 1):
        runner(protocol, wsgi_environ(numbered(number) if number % 5 else b"nonsense"))
    for number, protocol in enumerate(protocols, 1):
        if number % 5:
            assert granted(protocol.body).tst_info["nonce"].native == number
        else:
            refused(protocol.body, "03020204")
    assert [len(protocol.replies) for protocol in protocols] == [1] * 200


def test_other_requests_are_answered_at_once(runner: GranianRunner) -> None:
    protocol = Protocol()
    runner(protocol, wsgi_environ(numbered(1), PATH_INFO="/tsa/default"))
    ((status, _, body),) = protocol.replies
    assert status == 200
    granted(body)
    runner(missing := Protocol(), wsgi_environ(b"", PATH_INFO="/nothing"))
    assert missing.replies[0][0] == 404


def test_a_request_by_itself_does_not_wait_for_another_thread(runner: GranianRunner, signer: Counting) -> None:
    signer.threads.clear()
    for number in range(1, 19):
        runner(protocol := Protocol(), wsgi_environ(numbered(number)))
        granted(protocol.body)
    here = threading.current_thread().name
    assert signer.threads.count(here) >= 14
    assert set(signer.threads) <= {here, "batches"}


def test_a_crash_is_an_answer_and_ends_nothing() -> None:
    from tsa_core.hosting.granian.runner import GranianRunner

    runner = GranianRunner(application_that_cannot_answer)
    for _ in range(20):
        runner(protocol := Protocol(), wsgi_environ(b""))
        assert protocol.status == 500


def test_a_body_in_parts_is_joined_and_closed() -> None:
    from tsa_core.hosting.granian.runner import GranianRunner

    class Body(list[bytes]):
        closed = 0

        def close(self) -> None:
            self.closed += 1

    parts = Body([b"two", b"three"])

    def app(_environ: dict[str, Any], start: Any) -> Body:
        start("200 OK", [("content-length", "11")])(b"one")
        return parts

    GranianRunner(app)(protocol := Protocol(), wsgi_environ(b""))
    assert protocol.body == b"onetwothree"
    assert parts.closed == 1
