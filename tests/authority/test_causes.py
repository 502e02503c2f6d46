"""The causes that stop tokens: set and cleared by their owners, listed for operators."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import pytest

from tests.conformance.plain_encoder import PlainRequest
from tests.conformance.replies import granted, refused
from tests.serving import Parts, TestSigner, TestSink, open_service
from tsa_core.api import (
    AuditError,
    PKIFailureInfo,
    RequestContext,
    RequestRejected,
    ResponseProcessor,
    TokenDraft,
    TsaError,
)
from tsa_core.authority import CauseKind, Causes
from tsa_core.service import Service

BODY = PlainRequest().encode()
CANNOT_SIGN = "03050600000040"


def test_causes_are_listed_while_they_are_active() -> None:
    causes = Causes()
    full = causes.add(CauseKind.AUDIT, "auditfile")
    causes.add(CauseKind.CLOCK)
    assert causes.active() == []
    full.set("the disk is full")
    assert [(cause.check, reason) for cause, reason in causes.active()] == [("audit:auditfile", "the disk is full")]
    full.clear()
    assert causes.active() == []
    assert [cause.check for cause in causes] == ["audit:auditfile", "clock"]


def test_a_cause_is_cleared_by_its_owner_alone() -> None:
    causes = Causes()
    failed, hangs = causes.add(CauseKind.AUDIT, "auditfile"), causes.add(CauseKind.AUDIT, "auditfile")
    failed.set("cannot write")
    hangs.set("does not answer")
    failed.clear()
    assert [reason for _, reason in causes.active()] == ["does not answer"]


def test_a_cause_of_one_profile_stops_no_other() -> None:
    causes = Causes()
    signer = causes.add(CauseKind.SIGNER, "p384", profile="p384")
    signer.set("the signer cannot sign now")
    assert causes.stopping("p384") == [CauseKind.SIGNER]
    assert causes.stopping("default") == []
    causes.add(CauseKind.CLOCK).set("unsynchronised")
    causes.add(CauseKind.HEALTH, "load").set("too much to do")
    assert causes.stopping("default") == [CauseKind.CLOCK]
    assert [cause.check for cause, _ in causes.active()] == ["signer:p384", "clock", "load"]


def test_a_cause_needs_a_reason() -> None:
    with pytest.raises(ValueError, match="needs a reason"):
        Causes().add(CauseKind.CLOCK).set("")


def test_a_cause_that_was_set_again_meanwhile_stays() -> None:
    cause = Causes().add(CauseKind.AUDIT, "auditfile")
    cause.set("first")
    began = monotonic()
    cause.set("again")
    cause.clear_if_older(began)
    assert cause.reason == "again"
    cause.clear_if_older(monotonic() + 1)
    assert not cause.reason


def active(service: Service) -> set[str]:
    return {cause.check for cause, _ in service.authority.causes.active()}


def ask(service: Service) -> bytes:
    return service.authority.respond(BODY, RequestContext(request_id="7")).der


@pytest.mark.parametrize("failure", [AuditError("full"), KeyError("a bug")])
def test_a_sink_that_fails_is_a_cause_until_it_stores(failure: Exception) -> None:
    sinks = [TestSink(), TestSink()]
    with open_service(Parts(sinks=sinks)) as service:
        sinks[1].failure = failure
        refused(ask(service), CANNOT_SIGN)
        assert active(service) == {"audit:sink1"}
        sinks[1].failure = None
        granted(ask(service))
        assert not active(service)


class Failing(ResponseProcessor):
    def __init__(self) -> None:
        self.change: Callable[[bytes], bytes] = bytes

    def process(self, response: bytes, draft: TokenDraft) -> bytes:
        return self.change(response)


def withhold(_response: bytes) -> bytes:
    raise TsaError("no room")


def crash(_response: bytes) -> bytes:
    raise KeyError("a bug")


def refuse(_response: bytes) -> bytes:
    raise RequestRejected(PKIFailureInfo.BAD_REQUEST, "not today")


def damage(response: bytes) -> bytes:
    return response[:-1] + bytes([response[-1] ^ 1])


@pytest.mark.parametrize("change", [withhold, crash, damage, lambda _response: b"nothing"])
def test_a_processor_that_fails_is_a_cause_until_a_reply_passes(
    change: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    processors = [Failing(), Failing(), Failing()]
    with open_service(Parts(processors=processors)) as service:
        processors[1].change = change
        refused(ask(service), CANNOT_SIGN)
        assert active(service) == {"response:processor1"}
        assert "processor1" in caplog.text or "no room" in caplog.text
        processors[1].change = bytes
        granted(ask(service))
        assert not active(service)


def test_a_processor_that_refuses_a_request_is_no_cause() -> None:
    processor = Failing()
    processor.change = refuse
    with open_service(Parts(processors=[processor])) as service:
        refused(ask(service), "03020520")
        assert not active(service)


def test_a_signer_that_fails_is_a_cause_of_its_profile() -> None:
    signers = {"p256": TestSigner(), "ed25519": TestSigner("ed25519")}
    with open_service(Parts(signers=signers), profiles={"other": {"signer": "test:ed25519"}}) as service:
        signers["ed25519"].go_down()
        refused(service.authority.respond(BODY, RequestContext(request_id="7", profile="other")).der, CANNOT_SIGN)
        assert active(service) == {"signer:other"}
        assert not service.authority.causes.stopping("default")
        assert service.authority.causes.stopping("other") == [CauseKind.SIGNER]
