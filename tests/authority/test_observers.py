"""Observers are told of every request, and change nothing."""

from __future__ import annotations

from tests.conformance.plain_encoder import PlainRequest
from tests.conformance.replies import granted, refused
from tests.serving import Parts, TestSigner, open_service
from tsa_core.api import Observer, PKIFailureInfo, RequestContext, RequestOutcome


class Notes(Observer):
    """Keeps what it is told, and crashes when it is told to."""

    def __init__(self) -> None:
        self.outcomes: list[RequestOutcome] = []
        self.crash = False

    def observe(self, outcome: RequestOutcome) -> None:
        if self.crash:
            raise RuntimeError("full")
        self.outcomes.append(outcome)


GOOD = PlainRequest().encode()


def test_observers_are_told_of_every_request() -> None:
    notes, signer = Notes(), TestSigner()
    with open_service(Parts(signers={"p256": signer}, observers=[notes])) as service:

        def respond(body: bytes) -> bytes:
            return service.authority.respond(body, RequestContext(request_id="7", client_address="192.0.2.1")).der

        reply = granted(respond(GOOD))
        refused(respond(PlainRequest(hash_name="sha1", digest=bytes(20)).encode()), "03020780")
        refused(respond(b"nonsense"), "03020204")
        signer.go_down()
        refused(respond(GOOD), "03050600000040")
    first, weak, malformed, down = notes.outcomes
    assert {(one.request_id, one.client_address) for one in notes.outcomes} == {("7", "192.0.2.1")}
    assert all(one.duration_ns > 0 for one in notes.outcomes)
    assert (first.failure, first.profile, first.hash_name) == (None, "default", "sha256")
    assert first.serial_number == reply.tst_info["serial_number"].native
    assert set(first.phases_ns) == {"sign", "audit"}
    assert (weak.failure, weak.hash_name, weak.serial_number) == (PKIFailureInfo.BAD_ALG, "sha1", None)
    assert (malformed.failure, malformed.hash_name) == (PKIFailureInfo.BAD_DATA_FORMAT, None)
    assert down.failure is PKIFailureInfo.SYSTEM_FAILURE


def test_an_observer_that_crashes_changes_nothing() -> None:
    broken, notes = Notes(), Notes()
    broken.crash = True
    with open_service(Parts(observers=[broken, notes])) as service:
        granted(service.authority.respond(GOOD, RequestContext()).der)
        refused(service.authority.respond(b"", RequestContext()).der, "03020204")
    assert len(notes.outcomes) == 2
