"""Audit sinks that want refusals get them, behind the replies; a refusal that is lost withholds no token."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence

import pytest

from tests.conformance.plain_encoder import PlainRequest
from tests.conformance.replies import granted, refused
from tests.serving import Parts, open_service
from tsa_core.api import AuditError, Identity, PKIFailureInfo, PluginError, RefusalRecord, RequestContext
from tsa_core.service import background_queue
from tsa_core.service.queued_refusals import QueuedRefusals
from tsa_core.testing import ListAuditSink, sample_refusal, wait_until

GOOD = PlainRequest().encode()
WEAK = PlainRequest(hash_name="sha1", digest=bytes(20)).encode()


class CuriousSink(ListAuditSink):
    """Keeps refusals too, and fails or hangs when it is told to."""

    wants_refusals = True

    def __init__(self, failure: BaseException | None = None) -> None:
        super().__init__()
        self.refusals: list[RefusalRecord] = []
        self.failure = failure
        self.go = threading.Event()
        self.go.set()

    def write_refusals(self, records: Sequence[RefusalRecord]) -> None:
        self.go.wait(60)
        if self.failure is not None:
            raise self.failure
        self.refusals.extend(records)


def test_a_sink_that_wants_refusals_gets_what_is_known_of_them() -> None:
    sink, other = CuriousSink(), ListAuditSink()
    who = Identity(name="press", tenant="acme")
    with open_service(Parts(sinks=[sink, other])) as service:
        context = RequestContext(request_id="7", client_address="192.0.2.1", identity=who)
        granted(service.authority.respond(GOOD, context).der)
        refused(service.authority.respond(WEAK, context).der, "03020780")
        refused(service.authority.respond(b"nonsense", context).der, "03020204")
        wait_until(lambda: len(sink.refusals) == 2, seconds=60, what="both refusals are stored")
    weak, malformed = sink.refusals
    assert (weak.failure, weak.profile, weak.digest) == (PKIFailureInfo.BAD_ALG, "default", bytes(20))
    assert weak.reason.startswith("the hash algorithm")
    assert (malformed.failure, malformed.profile, malformed.digest) == (PKIFailureInfo.BAD_DATA_FORMAT, None, None)
    assert {(one.request_id, one.client_address, one.identity) for one in sink.refusals} == {("7", "192.0.2.1", who)}
    assert len(sink.records) == len(other.records) == 1


@pytest.mark.parametrize("failure", [AuditError("the disk is full"), RuntimeError("a bug")], ids=["fails", "crashes"])
def test_a_refusal_that_is_lost_is_counted_and_takes_no_token(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    sink = CuriousSink(failure)
    lost = 0
    with open_service(Parts(sinks=[sink])) as service:

        def one_is_lost() -> bool:
            nonlocal lost
            lost += service.take_lost_refusals()["sink0"]
            return lost == 1

        refused(service.authority.respond(WEAK, RequestContext()).der, "03020780")
        wait_until(one_is_lost, seconds=60, what="the loss is counted")
        granted(service.authority.respond(GOOD, RequestContext()).der)
    assert "the audit sink 'sink0' has no record of 1 refused requests" in caplog.text


def test_what_a_sink_that_hangs_misses_is_counted() -> None:
    sink = CuriousSink()
    sink.go.clear()
    queued = QueuedRefusals("slow", sink, limit=3)
    for number in range(20):
        queued.put(sample_refusal(number))
    queued.finish(seconds=0.1)
    assert queued.take_lost() >= 17 - 3
    queued.finish(seconds=0.1)
    assert queued.take_lost() == 0, "nothing is lost twice"
    sink.go.set()


@pytest.mark.parametrize(("pause", "ends"), [(0.2, False), (1000.0, True)], ids=["later", "at the end"])
def test_the_log_tells_of_every_refusal_that_was_lost(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, pause: float, ends: bool
) -> None:
    """One line in some seconds; what is lost between two of them is told although nothing is lost any more."""
    monkeypatch.setattr(background_queue, "_WARNING_PAUSE_SECONDS", pause)
    monkeypatch.setattr(QueuedRefusals, "together", 1)
    queued = QueuedRefusals("full", CuriousSink(AuditError("the disk is full")))
    for number in range(3):
        queued.put(sample_refusal(number))
    lost = 0

    def all_are_lost() -> bool:
        nonlocal lost
        lost += queued.take_lost()
        return lost == 3

    def told() -> int:
        found = [re.search(r"no record of (\d+) refused requests: the disk is full", text) for text in caplog.messages]
        return sum(int(each[1]) for each in found if each)

    wait_until(all_are_lost, seconds=60, what="the losses are counted")
    if ends:
        queued.finish()
    wait_until(lambda: told() == 3, seconds=60, what="the losses are told")
    queued.finish()
    assert told() == 3


def test_a_sink_that_wants_refusals_must_take_them() -> None:
    class Forgetful(ListAuditSink):
        wants_refusals = True

    with pytest.raises(PluginError, match="has no write_refusals"), open_service(Parts(sinks=[Forgetful()])):
        pass
