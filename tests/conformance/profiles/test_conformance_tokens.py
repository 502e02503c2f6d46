"""What a profile's conformance forbids of a token is never in one: the request is refused instead."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from tests.conformance.profiles.conforming import OWN_POLICY, Conforming
from tsa_core.api import (
    ClockAnchor,
    ClockVerdict,
    PKIFailureInfo,
    RequestContext,
    ResponseProcessor,
    TokenDraft,
)
from tsa_core.conformance.chains import Outcome
from tsa_core.conformance.profiles import CONFORMANCE
from tsa_core.conformance.rule import Case, TokenFacts, When
from tsa_core.paths.algorithm_ends import AlgorithmEnd
from tsa_core.protocol import der, oids
from tsa_core.protocol.hashes import SHA512
from tsa_core.protocol.reply import read_reply
from tsa_core.protocol.tstinfo import QUALIFIED_STATEMENT
from tsa_core.protocol.tstinfo_reader import TSTInfo, read_tst_info
from tsa_core.service import Service
from tsa_core.testing import FakeMonitor, encode_request

NOW = datetime.now(UTC)
CRITICAL = der.tlv(der.BOOLEAN, b"\xff")


class Adding(ResponseProcessor):
    """Adds an extension to each token."""

    def __init__(self, *added: bytes) -> None:
        self._added = added

    def extend(self, draft: TokenDraft) -> tuple[bytes, ...]:
        return self._added


def extension(oid: str, critical: bytes = b"", value: bytes = b"\x05\x00") -> bytes:
    return der.sequence(der.oid(oid), critical, der.octet_string(value))


def asked(service: Service, body: bytes = b"") -> PKIFailureInfo | TSTInfo:
    reply = service.authority.respond(body or encode_request(b"x"), RequestContext())
    if reply.rejection is not None:
        return reply.rejection.failure
    _, token = read_reply(reply.der)
    assert token is not None
    return read_tst_info(token.content)


def sha512_request() -> bytes:
    """Return a request with a SHA-512 imprint."""
    imprint = der.sequence(SHA512.identifier, der.octet_string(bytes(64)))
    return der.sequence(der.integer(1), imprint)


def critical_request() -> bytes:
    """Return a request with a critical extension."""
    request = encode_request(b"x")
    _, start, end = der.read(request, 0, len(request))
    return der.sequence(request[start:end], der.tlv(0xA0, extension("1.2.3.4", CRITICAL)))


def test_a_token_is_as_its_facts_say_and_conforms_from_outside_too() -> None:
    with Conforming(profile={"qualified": True}).open("etsi", "csbr", "sigstore") as service:
        info = asked(service)
        conformance = service.authority.profiles["default"].conformance
    assert isinstance(info, TSTInfo)
    assert conformance is not None
    facts = TokenFacts.of(info)
    assert facts.accuracy == timedelta(seconds=1)
    assert facts.policies == [OWN_POLICY]
    assert facts.qc_statements == (oids.ESI4_QTST_STATEMENT_1,)
    for profile in CONFORMANCE.values():
        for rule in profile.rules:
            if When.TOKEN in rule.when:
                assert rule.judge(Case(at=NOW, token_facts=facts)).outcome is not Outcome.FAIL


def test_a_qualified_profile_marks_every_token_once_and_not_critically() -> None:
    with Conforming(profile={"qualified": True}).open("etsi") as service:
        info = asked(service)
    assert isinstance(info, TSTInfo)
    (found,) = info.extensions
    assert (found.oid, found.critical, found.value.hex()) == (
        "1.3.6.1.5.5.7.1.3",
        False,
        "300b30090607040081975e0101",
    )


def test_a_critical_extension_of_a_plugin_is_never_in_a_token(caplog: pytest.LogCaptureFixture) -> None:
    with (
        Conforming(processors=[Adding(extension("1.2.3.4", CRITICAL))]).open("etsi") as service,
        caplog.at_level(logging.ERROR),
    ):
        assert asked(service) is PKIFailureInfo.SYSTEM_FAILURE
    assert "etsi-no-critical-extension: EN 319 422 5.2.2" in caplog.text
    with Conforming(processors=[Adding(extension("1.2.3.4"))]).open("etsi") as service:
        assert isinstance(asked(service), TSTInfo)


def test_a_critical_extension_of_a_request_is_not_copied() -> None:
    copying = {"allow_custom_extensions": True}
    with Conforming(profile=copying).open("etsi") as service:
        assert asked(service, critical_request()) is PKIFailureInfo.UNACCEPTED_EXTENSION
    with Conforming(profile=copying).open() as service:
        assert isinstance(asked(service, critical_request()), TSTInfo)


@pytest.mark.parametrize(
    "added",
    [
        QUALIFIED_STATEMENT,
        extension(oids.ID_PE_QC_STATEMENTS, value=der.sequence(der.sequence(der.oid("0.4.0.1862.1.1")))),
        extension(oids.ID_PE_QC_STATEMENTS, value=b"\x30\x03noise"),
    ],
    ids=["claim", "another", "noise"],
)
def test_a_plugin_cannot_claim_what_the_profile_does_not_say(added: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with Conforming(processors=[Adding(added)]).open("etsi") as service, caplog.at_level(logging.ERROR):
        assert asked(service) is PKIFailureInfo.SYSTEM_FAILURE
    assert "etsi-qualified-statement: EN 319 422 9.1" in caplog.text


@contextmanager
def measured(error: timedelta, conforming: Conforming) -> Iterator[Service]:
    """Open a service whose monitor says that the clock may be wrong by `error`."""
    (monitor,) = conforming.monitors
    assert isinstance(monitor, FakeMonitor)
    with conforming.open("etsi") as service:
        anchor = ClockAnchor.take(service.clock.gate.checked)
        monitor.current = ClockVerdict(
            trusted=True, reason="", offset=error, uncertainty=timedelta(0), checked_at=anchor.monotonic, anchor=anchor
        )
        yield service


def test_a_wider_accuracy_ends_at_one_second() -> None:
    def conforming() -> Conforming:
        return Conforming(clock={"widen_accuracy": True}, profile={"accuracy": "100ms", "fraction_digits": 1})

    with measured(timedelta(milliseconds=600), conforming()) as service:
        info = asked(service)
        assert isinstance(info, TSTInfo)
        assert info.accuracy is not None
        assert info.accuracy.duration == timedelta(seconds=1)
    with measured(timedelta(milliseconds=1100), conforming()) as service:
        assert asked(service) is PKIFailureInfo.TIME_NOT_AVAILABLE
        clock = next(check for check in service.readiness() if check.name == "clock")
        assert not clock.healthy


def test_an_untrusted_clock_gives_no_token() -> None:
    conforming = Conforming(monitors=[FakeMonitor(trusted=False)])
    with conforming.open("etsi", "csbr") as service:
        assert asked(service) is PKIFailureInfo.TIME_NOT_AVAILABLE


def test_a_hash_that_ends_while_the_server_runs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    end = AlgorithmEnd(algorithm="sha256", until=NOW + timedelta(days=10), source="a standard of the future")
    monkeypatch.setattr("tsa_core.conformance.etsi.TS_119_312_ENDS", (end,))
    # No certificate of this chain and no signature may rely on SHA-256, or the profile would end with it.
    monkeypatch.setattr("tsa_core.conformance.etsi._algorithm_uses", lambda _case: iter(()))
    conforming = Conforming()
    with conforming.open("etsi") as service:
        assert isinstance(asked(service), TSTInfo)
        conforming.time.set(NOW + timedelta(days=11))
        assert asked(service) is PKIFailureInfo.BAD_ALG
        assert isinstance(asked(service, sha512_request()), TSTInfo)
    assert isinstance(service.authority.profiles["default"].hash_ends["sha256"].moment, datetime)
