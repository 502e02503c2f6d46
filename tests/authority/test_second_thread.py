"""A second thread signs a share of a batch, and the replies are those of one thread."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pytest

from tests.conformance.plain_encoder import PlainRequest
from tests.conformance.replies import granted, read_reply, refused
from tests.serving import Parts, TestSigner, TestSink, open_service, running_server
from tsa_core.api import LocalKeySigner, RequestContext, SignerUnavailable
from tsa_core.authority import BatchGuard, BatchTaken, RequestTrace
from tsa_core.authority.second_thread import SecondThread, SharedBatch, Signing
from tsa_core.config import cores
from tsa_core.protocol.signatures import SignatureAlgorithm
from tsa_core.service import Service
from tsa_core.testing import encode_request, wait_until
from tsa_core.testing.pki import shared_key

SYSTEM_FAILURE = "03050600000040"
NAME = "second-signer"


class Parallel(TestSigner):
    """Calls `before` ahead of each signature; the number of the signature is its argument, the trial's is 0."""

    sign_digest = None

    def __init__(self, before: Callable[[int], None] = lambda _number: None) -> None:
        super().__init__()
        self.parallel = True
        self._before = before
        self._count = 0
        self._lock = threading.Lock()
        self.threads: list[str] = []

    def sign(self, message: bytes, *, timeout: float) -> bytes:
        with self._lock:
            number = self._count
            self._count += 1
            self.threads.append(threading.current_thread().name)
        self._before(number)
        return super().sign(message, timeout=timeout)


class Meeting:
    """Lets signatures pass in pairs: one thread alone does not get through."""

    def __init__(self) -> None:
        self._barrier = threading.Barrier(2)

    def __call__(self, number: int) -> None:
        if number:
            self._barrier.wait(60)


@pytest.fixture(autouse=True)
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "CPUS_AT_START", set(range(8)))
    monkeypatch.setattr(cores, "_quota", lambda _group: float("inf"))


@contextmanager
def service_of(signer: TestSigner, sinks: Sequence[TestSink] = (), **profile: object) -> Iterator[Service]:
    with open_service(Parts(signers={"p256": signer}, sinks=sinks), profiles={"default": profile}) as service:
        yield service


def answer(service: Service, count: int, guard: BatchGuard | None = None) -> list[bytes]:
    bodies = [PlainRequest(nonce=number).encode() for number in range(1, count + 1)]
    batch = [service.authority.admit(body, RequestContext(request_id="7")) for body in bodies]
    service.authority.respond_batch(batch, guard)
    return [pending.answered.der for pending in batch]


def test_two_threads_sign_at_the_same_time_and_each_request_gets_its_own_token() -> None:
    signer, sink = Parallel(Meeting()), TestSink()
    with service_of(signer, [sink], ordering=True, fraction_digits=6) as service:
        replies = answer(service, 8)
        found = [granted(reply).tst_info for reply in replies]
    assert signer.threads.count(NAME) == 4
    assert [token["nonce"].native for token in found] == list(range(1, 9))
    times = [token["gen_time"].native for token in found]
    assert times == sorted(set(times))
    assert [record.response for record in sink.records] == replies
    assert len({token["serial_number"].native for token in found}) == 8


def test_one_request_is_signed_where_it_is_answered() -> None:
    signer = Parallel()
    with service_of(signer) as service:
        granted(service.authority.respond(PlainRequest().encode(), RequestContext()).der)
        granted(answer(service, 1)[0])
    assert NAME not in signer.threads


@pytest.mark.parametrize(
    "failure", [SignerUnavailable("down"), RuntimeError("a bug"), SystemExit(3)], ids=["SignerError", "bug", "exit"]
)
def test_what_the_signer_raises_in_the_other_thread_refuses_that_request_alone(failure: BaseException) -> None:
    meet = Meeting()

    def fail_there(number: int) -> None:
        meet(number)
        if threading.current_thread().name == NAME:
            raise failure

    with service_of(Parallel(fail_there)) as service:
        replies = answer(service, 2)
    found = [read_reply(reply) for reply in replies]
    lost = [reply for reply, read in zip(replies, found, strict=True) if read.token is None]
    assert len(lost) == 1
    refused(lost[0], SYSTEM_FAILURE)


class Gate:
    """Keeps the second thread in a signature until `go` is set; the other one waits until it is there, or `seconds`."""

    def __init__(self, seconds: float = 60) -> None:
        self.seconds = seconds
        self.arrived = threading.Event()
        self.go = threading.Event()

    def __call__(self, number: int) -> None:
        if threading.current_thread().name == NAME:
            self.arrived.set()
            self.go.wait(60)
        elif number:
            self.arrived.wait(self.seconds)


def test_a_signature_that_hangs_in_the_other_thread_hangs_the_batch_and_its_guard_takes_it() -> None:
    gate, guard = Gate(), BatchGuard()
    with service_of(Parallel(gate), signer_timeout="200ms") as service, ThreadPoolExecutor(1) as answering:
        bodies = [PlainRequest(nonce=number).encode() for number in range(1, 5)]
        batch = [service.authority.admit(body, RequestContext()) for body in bodies]
        work = answering.submit(service.authority.respond_batch, batch, guard)
        try:
            wait_until(lambda: guard.is_overdue(monotonic()), seconds=60, what="the batch is overdue")
            assert guard.take()
            assert guard.hanging is not None
            service.authority.give_up(batch, guard.hanging)
            for pending in batch:
                refused(pending.answered.der, SYSTEM_FAILURE)
        finally:
            gate.go.set()
        with pytest.raises(BatchTaken):
            work.result(60)


class Waits(TestSigner):
    latency = "remote"
    sign_digest = None


def test_the_other_thread_goes_on_after_a_batch_that_was_taken_while_signatures_were_verified(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate, guard = Gate(0.01), BatchGuard()
    gate.go.set()

    def take(*_: object) -> bool:
        assert guard.take()
        return False

    parts = Parts(signers={"p256": Parallel(gate), "waits": Waits()})
    with open_service(parts, profiles={"remote": {"signer": "test:waits", "policies": ["1.2.3.4"]}}) as service:
        authority = service.authority
        batch = [authority.admit(encode_request(b"remote"), RequestContext(profile="remote"), may_wait=True)]
        authority.in_threads.prepare(batch, BatchGuard())
        authority.in_threads.sign(batch[0], BatchGuard())
        batch.append(authority.admit(encode_request(b"local"), RequestContext()))
        with monkeypatch.context() as patch:
            patch.setattr(SignatureAlgorithm, "is_valid", take)
            with pytest.raises(BatchTaken):
                authority.respond_batch(batch, guard)
        wait_until(lambda: bool(answer(service, 4)) and gate.arrived.is_set(), seconds=30, what="it signs")


@pytest.mark.parametrize("engine", ["waitress", "granian"])
def test_a_server_whose_second_thread_hangs_refuses_and_signs_again_afterwards(engine: str) -> None:
    gate = Gate(0.01)  # a request that is alone in its batch meets nobody
    with running_server(
        Parts(signers={"p256": Parallel(gate)}), profiles={"default": {"signer_timeout": "300ms"}}, engine=engine
    ) as server:

        def ask(_number: int) -> bytes:
            return server.post(encode_request(b"second")).body

        with ThreadPoolExecutor(16) as clients:
            while not gate.arrived.is_set():  # until a batch had two requests
                hanging = list(clients.map(ask, range(16)))
            assert any(read_reply(reply).token is None for reply in hanging)
            assert server.request("GET", "/ping").status == 200
            gate.go.set()
            wait_until(lambda: read_reply(ask(0)).token is not None, seconds=60, what="tokens again")
            for reply in clients.map(ask, range(16)):
                granted(reply)


def test_while_it_hangs_for_one_loop_another_loop_signs_alone() -> None:
    gate = Gate()
    second = SecondThread()
    try:
        held = second.share()
        assert held is not None
        signing = Signing(lambda _to_sign: gate(0), b"")
        held.add(signing)
        assert gate.arrived.wait(60)
        for _ in range(3):
            other = second.share()
            if other is None:
                break
            mine = Signing(bytes.upper, b"a")
            other.add(mine)
            other.wait_for(mine)
            other.end()
            assert mine.result() == b"A"
        else:
            pytest.fail("batches pile up before a thread that hangs")
    finally:
        gate.go.set()
        second.close()
    held.wait_for(signing)


def test_it_ends_when_it_is_closed_and_after_a_batch_that_signed_nothing() -> None:
    second = SecondThread()
    batch = second.share()
    assert isinstance(batch, SharedBatch)
    thread = second._thread
    assert thread is not None
    batch.end()
    second.close()
    thread.join(60)
    assert not thread.is_alive()
    assert second.share() is None


def test_where_the_system_allows_no_more_threads_one_signs_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    signer = Parallel()
    with service_of(signer) as service:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            for reply in answer(service, 4):
                granted(reply)
        assert NAME not in signer.threads
        for reply in answer(service, 4):
            granted(reply)


@pytest.mark.needs(hasattr(os, "fork"), "forks")
def test_a_process_that_was_forked_starts_its_own() -> None:
    second = SecondThread()
    first = second.share()
    assert first is not None
    first.end()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # this process has threads
        child = os.fork()
    if not child:
        made = False
        try:
            batch = second.share()
            if batch is not None:
                signing = Signing(lambda _to_sign: threading.current_thread().name, b"")
                batch.add(signing)
                batch._finished.get(timeout=60)  # here nobody else makes it
                made = signing.result() == NAME
        finally:
            os._exit(0 if made else 1)
    second.close()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_trace_has_the_times_of_the_signature_itself() -> None:
    with service_of(Parallel(Meeting())) as service:
        traces = [RequestTrace() for _ in range(4)]
        batch = [service.authority.admit(PlainRequest(nonce=7).encode(), RequestContext(), trace) for trace in traces]
        service.authority.respond_batch(batch)
    assert all(0 < trace.started <= trace.sign_began < trace.sign_ended for trace in traces)


@pytest.mark.parametrize(
    ("kind", "slow"),
    [
        ("ecdsa-p256", False),
        ("ed25519", False),
        ("ecdsa-p384", True),
        ("rsa-2048", True),
        ("ml-dsa-65", True),
    ],
)
def test_slow_keys_are_signed_with_by_two_threads(kind: str, slow: bool) -> None:
    assert LocalKeySigner(shared_key(kind)).parallel is slow


@pytest.mark.parametrize(
    ("settings", "least"),
    [({}, 2), ({"workers": 7}, 2), ({"workers": 8}, 1), ({"second_thread": False}, 1)],
    ids=["one", "seven", "eight", "off"],
)
def test_it_needs_a_cpu_that_no_worker_has(settings: dict[str, Any], least: int) -> None:
    with open_service(Parts(signers={"p256": Parallel()}), **settings) as service:
        assert service.authority.least_batch == least


@pytest.mark.parametrize(("quota", "spare"), [(1.0, False), (1.5, False), (2.0, True)])
def test_half_a_cpu_of_a_quota_is_none(quota: float, spare: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_quota", lambda _group: quota)
    assert cores.has_spare_cpu(1) is spare


def test_a_signer_that_is_not_parallel_is_called_in_one_thread() -> None:
    with service_of(TestSigner()) as service:
        assert service.authority.least_batch == 1
