"""A request of a batch gets the reply that it would get alone."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from tests.conformance.plain_encoder import PlainRequest
from tests.conformance.replies import ReadReply, granted, refused
from tests.serving import Parts, TestClock, TestSigner, TestSink, open_service
from tsa_core.api import (
    AuditError,
    AuditRecord,
    ClockError,
    Observer,
    RequestContext,
    RequestOutcome,
    ResponseProcessor,
    TokenDraft,
)
from tsa_core.authority import PendingRequest, RequestTrace
from tsa_core.service import Service

COUNT = 16
WEAK = PlainRequest(hash_name="sha1", digest=bytes(20)).encode()
CANNOT_SIGN = "03050600000040"


def numbered(number: int) -> bytes:
    return PlainRequest(digest=number.to_bytes(32, "big"), nonce=number, cert_req=bool(number % 2)).encode()


def admit(service: Service, bodies: Sequence[bytes], profile: str | None = None) -> list[PendingRequest]:
    return [service.authority.admit(body, RequestContext(request_id="7", profile=profile)) for body in bodies]


def respond(service: Service, batch: Sequence[PendingRequest]) -> list[bytes]:
    service.authority.respond_batch(batch)
    return [pending.answered.der for pending in batch]


def tokens(service: Service) -> list[ReadReply]:
    return [granted(der) for der in respond(service, admit(service, [numbered(n) for n in range(1, COUNT + 1)]))]


class Batches(TestSink):
    """Keeps the serial numbers of each call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[int]] = []

    def write_all(self, records: Sequence[AuditRecord]) -> None:
        self.calls.append([record.serial_number for record in records])
        super().write_all(records)


class Every(Observer):
    def __init__(self) -> None:
        self.outcomes: list[RequestOutcome] = []

    def observe(self, outcome: RequestOutcome) -> None:
        self.outcomes.append(outcome)


def test_each_gets_its_own_token() -> None:
    with open_service() as service:
        found = tokens(service)
        alone = granted(service.authority.respond(numbered(1), RequestContext()).der)
    assert [token.tst_info["nonce"].native for token in found] == list(range(1, COUNT + 1))
    digests = [token.tst_info["message_imprint"]["hashed_message"].native for token in found]
    assert digests == [number.to_bytes(32, "big") for number in range(1, COUNT + 1)]
    assert len({token.tst_info["serial_number"].native for token in found}) == COUNT
    assert set(found[0].tst_info.native) == set(alone.tst_info.native)


def test_an_empty_batch_is_no_error() -> None:
    with open_service() as service:
        assert service.authority.respond_batch([]) < 1


def test_refused_requests_of_a_batch_stay_refused() -> None:
    bodies = [numbered(1), b"nonsense", numbered(2), WEAK, numbered(3)]
    with open_service() as service:
        batch = admit(service, bodies)
        assert [pending.reply is None for pending in batch] == [True, False, True, False, True]
        replies = respond(service, batch)
    assert [granted(replies[i]).tst_info["nonce"].native for i in (0, 2, 4)] == [1, 2, 3]
    refused(replies[1], "03020204")
    refused(replies[3], "03020780")


def test_a_signature_that_fails_refuses_its_own_request_alone() -> None:
    class Third(TestSigner):
        calls = 0

        def sign(self, message: bytes, *, timeout: float) -> bytes:
            self.calls += 1
            if self.calls == 4:  # the first one is the trial at start
                raise RuntimeError("a crash")
            return super().sign(message, timeout=timeout)

    with open_service(Parts(signers={"p256": Third()})) as service:
        replies = respond(service, admit(service, [numbered(n) for n in range(1, 6)]))
    refused(replies[2], CANNOT_SIGN)
    assert [granted(replies[i]).tst_info["nonce"].native for i in (0, 1, 3, 4)] == [1, 2, 4, 5]


def test_sinks_are_called_once_for_a_batch() -> None:
    sink = Batches()
    with open_service(Parts(sinks=[sink])) as service:
        replies = respond(service, admit(service, [numbered(1), WEAK, numbered(2)]))
        serials = [granted(replies[i]).tst_info["serial_number"].native for i in (0, 2)]
    assert sink.calls == [serials]
    assert [record.response for record in sink.records] == [replies[0], replies[2]]


def test_no_token_is_sent_when_a_sink_fails() -> None:
    first, second, every = Batches(), Batches(), Every()
    with open_service(Parts(sinks=[first, second], observers=[every])) as service:
        second.failure = AuditError("full")
        for der in respond(service, admit(service, [numbered(1), numbered(2)])):
            refused(der, CANNOT_SIGN)
        second.failure = None
        assert len(tokens(service)) == COUNT
    assert [outcome.failed_phase for outcome in every.outcomes[:2]] == ["audit", "audit"]
    assert all(outcome.failure is None for outcome in every.outcomes[2:])
    assert len(every.outcomes) == 2 + COUNT


def test_a_sink_that_crashes_is_one_traceback_and_no_token_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    class Crashing(TestSink):
        def write_all(self, records: Sequence[AuditRecord]) -> None:
            raise KeyError("token s.secret")

    with open_service(Parts(sinks=[Crashing()])) as service:
        for der in respond(service, admit(service, [numbered(n) for n in range(1, COUNT + 1)])):
            assert "secret" not in refused(der, CANNOT_SIGN)
        service.authority.tell_unlogged(end=True)
    line, count = caplog.records
    assert line.getMessage() == "request 7: the audit sink 'sink0' crashed [plugin sink0, tests 0]"
    assert line.exc_info is not None
    assert count.getMessage().startswith(f"{COUNT - 1} more requests failed")
    assert count.exc_info is None


def test_without_time_no_token_is_sent() -> None:
    clock = TestClock()
    with open_service(Parts(clock=clock)) as service:
        batch = admit(service, [numbered(1), numbered(2)])

        def fail() -> datetime:
            raise ClockError("the clock has stopped")

        clock.read = fail
        for der in respond(service, batch):
            refused(der, "0303010002")


def test_a_batch_has_one_clock_reading_made_after_all_have_arrived() -> None:
    readings: list[datetime] = []

    def read() -> datetime:
        now = datetime.now(UTC)
        if threading.current_thread() is threading.main_thread():  # others watch the clock
            readings.append(now)
        return now

    with open_service(Parts(clock=TestClock(read)), profiles={"default": {"fraction_digits": 6}}) as service:
        batch = admit(service, [numbered(1), numbered(2)])
        admitted = datetime.now(UTC)
        readings.clear()
        times = {granted(der).tst_info["gen_time"].native for der in respond(service, batch)}
    # The gate looks again when this thread was held up between a reading and the look at the monotonic clock.
    assert len(times) == 1
    assert times <= set(readings)
    assert admitted <= readings[0]


def test_ordered_tokens_have_a_time_each() -> None:
    with open_service(profiles={"default": {"fraction_digits": 6, "ordering": True}}) as service:
        times = [token.tst_info["gen_time"].native for token in tokens(service)]
    assert times == sorted(set(times))


def test_profiles_in_a_batch_keep_their_own_time_and_key() -> None:
    signers = {"p256": TestSigner(), "ed25519": TestSigner("ed25519")}
    profiles = {"other": {"signer": "test:ed25519", "policies": ["1.2.3.4"], "fraction_digits": 6}}
    with open_service(Parts(signers=signers), profiles=profiles) as service:
        batch = [*admit(service, [numbered(1)]), *admit(service, [numbered(2)], profile="other")]
        one, two = (granted(der) for der in respond(service, batch))
    assert one.tst_info["policy"].native != two.tst_info["policy"].native == "1.2.3.4"
    assert one.tst_info["gen_time"].native.microsecond == 0


def test_processors_see_each() -> None:
    class Sees(ResponseProcessor):
        def __init__(self) -> None:
            self.serials: list[int] = []

        def process(self, response: bytes, draft: TokenDraft) -> bytes:
            if len(self.serials) == 1:
                self.serials.append(0)
                raise RuntimeError("a crash")
            self.serials.append(draft.serial_number)
            return response

    sees, sink = Sees(), Batches()
    with open_service(Parts(processors=[sees], sinks=[sink])) as service:
        replies = respond(service, admit(service, [numbered(1), numbered(2), numbered(3)]))
    refused(replies[1], CANNOT_SIGN)
    serials = [granted(replies[i]).tst_info["serial_number"].native for i in (0, 2)]
    assert sees.serials == [serials[0], 0, serials[1]]
    assert sink.calls == [serials]


@pytest.mark.parametrize("sinks", [[], [TestSink()]])
def test_traces_say_what_became_of_each(sinks: list[TestSink]) -> None:
    with open_service(Parts(sinks=sinks, observers=[Every()])) as service:
        traces = [RequestTrace() for _ in range(3)]
        bodies = [numbered(1), WEAK, numbered(2)]
        batch = [service.authority.admit(b, RequestContext(), t) for b, t in zip(bodies, traces, strict=True)]
        replies = respond(service, batch)
    assert [trace.granted for trace in traces] == [True, False, True]
    for i in (0, 2):
        assert traces[i].serial_number == granted(replies[i]).tst_info["serial_number"].native
        outcome = traces[i].outcome()
        assert list(outcome.phases_ns) == ["parse", "clock", "sign", *(["audit"] if sinks else [])]
        assert 0 < sum(outcome.phases_ns.values()) <= outcome.duration_ns
