"""What fails between the stages of a batch, or cannot be told, refuses requests: none hangs, and each is counted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from prometheus_client import CollectorRegistry

from tests.conformance.plain_encoder import PlainRequest
from tests.conformance.replies import granted, refused
from tests.serving import (
    Parts,
    Server,
    TestClock,
    TestSigner,
    TestSink,
    open_service,
    served_by_granian,
    served_by_waitress,
)
from tsa_core.api import ClockError, Observer, RequestContext, RequestOutcome, RequestRejected, SignerError
from tsa_core.authority import BatchGuard, BatchTaken, PluginCalls, RequestTrace, TimestampAuthority
from tsa_core.authority.causes import CauseKind, Causes
from tsa_core.http.observability import RequestTracingMiddleware
from tsa_core.metrics.families import Families
from tsa_core.metrics.recorder import Recorder

GOOD = PlainRequest().encode()
SYSTEM_FAILURE = "03050600000040"
SERVED_BY = {"waitress": served_by_waitress, "granian": served_by_granian}


class Every(Observer):
    def __init__(self) -> None:
        self.outcomes: list[RequestOutcome] = []

    def observe(self, outcome: RequestOutcome) -> None:
        self.outcomes.append(outcome)


class Remote(TestSigner):
    latency = "remote"
    sign_digest = None


class Unspeakable:
    """What a plugin raises may have no text."""

    def __str__(self) -> str:
        raise ValueError("there are no words for it")


class UnspeakableSigner(Unspeakable, SignerError):
    pass


class UnspeakableClock(Unspeakable, ClockError):
    pass


def no_random_numbers(_size: int) -> bytes:
    raise OSError("no random numbers")


def no_memory(_size: int) -> bytes:
    raise MemoryError


# -- the authority --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", [no_random_numbers, no_memory])
@pytest.mark.parametrize("guarded", [True, False])
def test_what_fails_between_the_stages_refuses_each_request_once(
    fails: Callable[[int], bytes], guarded: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    every = Every()
    with open_service(Parts(observers=[every])) as service:
        authority = service.authority
        batch = [authority.admit(GOOD, RequestContext(request_id="7"), RequestTrace()) for _ in range(5)]
        monkeypatch.setattr(os, "urandom", fails)
        guard = BatchGuard() if guarded else None
        authority.respond_batch(batch, guard)
        monkeypatch.undo()
        for pending in batch:
            refused(pending.answered.der, SYSTEM_FAILURE)
            assert pending.trace is not None
            assert pending.trace.ended
        granted(authority.respond(GOOD, RequestContext()).der)
    assert guard is None or not guard.take()
    assert [each.failure is None for each in every.outcomes] == [False] * 5 + [True]
    assert "request 7: unexpected failure" in caplog.text


def test_what_fails_after_the_batch_was_claimed_refuses_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_service() as service:
        authority = service.authority
        batch = [authority.admit(GOOD, RequestContext()) for _ in range(3)]
        replies = authority._replies
        grant, left = replies.grant, [1]

        def grant_one(pending: object) -> None:
            left.pop()  # IndexError for the second
            grant(pending)  # type: ignore[arg-type] # it is a PendingRequest

        monkeypatch.setattr(replies, "grant", grant_one)
        authority.respond_batch(batch, BatchGuard())
    granted(batch[0].answered.der)
    for pending in batch[1:]:
        refused(pending.answered.der, SYSTEM_FAILURE)


def test_a_batch_that_was_taken_meanwhile_is_left_to_who_took_it(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = BatchGuard()
    hangs = PluginCalls("a key", seconds=0.0, hangs=Causes().add(CauseKind.SIGNER))

    def taken(_size: int) -> bytes:
        assert guard.take()
        authority.give_up(batch, hangs)
        raise OSError("no random numbers")

    with open_service() as service:
        authority = service.authority
        batch = [authority.admit(GOOD, RequestContext()) for _ in range(2)]
        monkeypatch.setattr(os, "urandom", taken)
        with pytest.raises(BatchTaken):
            authority.respond_batch(batch, guard)
        monkeypatch.undo()
        replies = [pending.reply for pending in batch]
        guard.end()
    assert all(reply is not None and reply.rejection is not None for reply in replies)


def unspeakable_signer(parts: Parts) -> None:
    signer = parts.signers["p256"]
    assert isinstance(signer, TestSigner)
    signer.failure = UnspeakableSigner()


def unspeakable_clock(parts: Parts) -> None:
    def fail() -> None:
        raise UnspeakableClock

    assert isinstance(parts.clock, TestClock)
    parts.clock.read = fail  # type: ignore[assignment] # it returns nothing


def odd_rejection(parts: Parts) -> None:
    signer = parts.signers["p256"]
    assert isinstance(signer, TestSigner)
    rejection = RequestRejected(["a list"], "no failure of PKIFailureInfo")  # type: ignore[arg-type] # a wrong one
    (sink,) = parts.sinks
    assert isinstance(sink, TestSink)
    sink.failure = rejection


@pytest.mark.parametrize("spoil", [unspeakable_signer, unspeakable_clock, odd_rejection])
def test_an_error_that_cannot_be_told_refuses_its_request(
    spoil: Callable[[Parts], None], caplog: pytest.LogCaptureFixture
) -> None:
    every = Every()
    parts = Parts(sinks=[TestSink()], observers=[every])
    with open_service(parts) as service:
        spoil(parts)
        reply = service.authority.respond(GOOD, RequestContext(request_id="7"))
    refused(reply.der, SYSTEM_FAILURE)
    assert [each.failure is None for each in every.outcomes] == [False]
    assert "request 7: " in caplog.text


def test_where_nothing_can_be_made_a_request_is_refused_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_named: object) -> None:
        raise MemoryError

    with open_service() as service:
        trace = RequestTrace()
        pending = service.authority.admit(GOOD, RequestContext(), trace)
        replies = service.authority._replies
        monkeypatch.setattr(replies, "refuse", fail)
        monkeypatch.setattr(replies.failures, "error", fail)
        service.authority.fail([pending], OSError("a failure"))
    refused(pending.answered.der, SYSTEM_FAILURE)
    assert trace.failure is not None


def test_an_outcome_that_cannot_be_told_withholds_no_token(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with open_service(Parts(observers=[Every()])) as service:
        monkeypatch.setattr(RequestTrace, "outcome", lambda _trace: 1 / 0)
        granted(service.authority.respond(GOOD, RequestContext()).der)
    assert "observers cannot be told of a request" in caplog.text


# -- servers --------------------------------------------------------------------------------------------------------


@contextmanager
def counted_server(engine: str, parts: Parts) -> Iterator[tuple[Server, Callable[[], float]]]:
    """Serve with metrics; yields the server, and what returns the number of requests in flight."""
    registry = CollectorRegistry()
    with open_service(parts, engine=engine, threads=1) as service:
        recorder = Recorder(Families(registry), service)
        tracing = RequestTracingMiddleware(recorder, None, request_id_header="X-Request-Id")

        def in_flight() -> float:
            recorder.bring_up_to_date()
            found = registry.get_sample_value("timestamp_authority_requests_in_flight")
            assert found is not None
            return found

        with SERVED_BY[engine](service, tracing) as server:
            yield server, in_flight


def ask_and_be_refused(server: Server) -> None:
    """Ask from several connections at the same time, with a header block that is known by then."""
    with ThreadPoolExecutor(4) as clients:
        for each in [clients.submit(server.post, GOOD) for _ in range(8)]:
            reply = each.result(60)
            assert reply.status == 200
            refused(reply.body, SYSTEM_FAILURE)


@pytest.mark.parametrize("engine", ["waitress", "granian"])
@pytest.mark.parametrize("kind", [TestSigner, Remote])
def test_a_batch_that_fails_is_refused_and_none_of_its_requests_stays_in_flight(
    engine: str, kind: type[TestSigner], monkeypatch: pytest.MonkeyPatch
) -> None:
    with counted_server(engine, Parts(signers={"p256": kind()})) as (server, in_flight):
        granted(server.post(GOOD).body)
        with monkeypatch.context() as patch:
            patch.setattr(TimestampAuthority, "_sign", lambda *_arguments, **_named: 1 / 0)
            ask_and_be_refused(server)
        granted(server.post(GOOD).body)
        assert in_flight() == 0


def test_a_signature_that_fails_in_its_thread_for_another_reason_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with counted_server("waitress", Parts(signers={"p256": Remote()})) as (server, in_flight):
        assert server.service is not None
        granted(server.post(GOOD).body)
        with monkeypatch.context() as patch:
            patch.setattr(server.service.authority.in_threads, "_sign", lambda *_: 1 / 0)
            ask_and_be_refused(server)
        granted(server.post(GOOD).body)
        assert in_flight() == 0
