"""Rules about replies: what stands in a TimeStampResp and its TSTInfo."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from asn1crypto import core, tsp

from tests import pki
from tests.conformance.plain_encoder import PlainRequest
from tests.conformance.replies import (
    ReadReply,
    assert_der,
    granted,
    members,
    read_reply,
    refused,
    signed_data,
    subject,
    verify,
)
from tests.serving import Parts, Server, TestClock, TestSigner, TestSink, open_service
from tsa_core.api import (
    AuditError,
    ClockError,
    PKIFailureInfo,
    PolicySelector,
    RequestContext,
    RequestRejected,
    ResponseProcessor,
    TimeStampReq,
    TokenDraft,
)
from tsa_core.protocol.response import encode_rejection

PLAIN = PlainRequest().encode()
WITH_CERTIFICATES = PlainRequest(cert_req=True).encode()


def stamp(settings: dict[str, Any] | None = None, body: bytes = PLAIN, *, at: datetime | None = None) -> ReadReply:
    """Return the reply of a profile with these settings, at that time."""
    parts = Parts()
    if at is not None:
        parts.clock = TestClock(lambda: at)
    with open_service(parts, profiles={"default": settings or {}}) as service:
        return granted(service.authority.respond(body, RequestContext()).der)


def test_s04_policy_is_in_every_token(server: Server) -> None:
    reply = granted(server.post(PLAIN).body)
    assert reply.tst_info["policy"].dotted == "1.3.6.1.4.1.57264.2"
    assert stamp({"policies": ["2.25.1", "1.2.3"]}).tst_info["policy"].dotted == "2.25.1"


def test_s07_the_requester_is_not_identifiable() -> None:
    now = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
    headers = {"Authorization": "Basic YWxpY2U6c2VjcmV0", "X-Request-Id": "alice-7"}
    alice = RequestContext(request_id="alice-7", client_address="192.0.2.7", header=headers.get)
    anonymous = RequestContext()
    body = PlainRequest(nonce=2**63, cert_req=True).encode()
    with open_service(Parts(clock=TestClock(lambda: now), sinks=[TestSink()])) as service:
        replies = [granted(service.authority.respond(body, context).der) for context in (alice, anonymous)]
    first, second = ([(name, one.tst_info[name].dump()) for name in one.tst_info] for one in replies)
    assert [name for (name, a), (_, b) in zip(first, second, strict=True) if a != b] == ["serial_number"]
    attributes = [
        {one["type"].native: one["values"].dump() for one in reply.signer_info["signed_attrs"]} for reply in replies
    ]
    assert {name for name in attributes[0] if attributes[0][name] != attributes[1][name]} == {"message_digest"}
    assert [len(reply.signer_info["signed_attrs"]) for reply in replies] == [4, 4]
    assert replies[0].certificates == replies[1].certificates
    assert not replies[0].signer_info["unsigned_attrs"]
    assert b"alice" not in replies[0].content


@pytest.mark.parametrize(("include", "number"), [("leaf", 1), ("intermediates", 2), ("full", 3), (None, 2)])
def test_s12_certificates_when_asked(include: str | None, number: int) -> None:
    reply = stamp({"include_chain": include} if include else {}, WITH_CERTIFICATES)
    assert reply.certificates == sorted(pki.der(pki.chain("p256"))[:number])


@pytest.mark.parametrize("include", ["leaf", "intermediates", "full"])
@pytest.mark.parametrize("false_written", [False, True])
def test_s13_certificates_absent_unless_asked(include: str, false_written: bool) -> None:
    body = PLAIN[:1] + bytes([PLAIN[1] + 3]) + PLAIN[2:] + b"\x01\x01\x00" if false_written else PLAIN
    with open_service(profiles={"default": {"include_chain": include}}) as service:
        reply = service.authority.respond(body, RequestContext()).der
    # version, digestAlgorithms, encapContentInfo, signerInfos; certificates would be [0].
    assert [value[0] for value in members(signed_data(reply))] == [0x02, 0x31, 0x30, 0x31]
    assert granted(reply).certificates is None


@pytest.mark.parametrize(
    ("failure", "encoded"),
    [
        (PKIFailureInfo.BAD_ALG, "03020780"),
        (PKIFailureInfo.BAD_REQUEST, "03020520"),
        (PKIFailureInfo.BAD_DATA_FORMAT, "03020204"),
        (PKIFailureInfo.TIME_NOT_AVAILABLE, "0303010002"),
        (PKIFailureInfo.UNACCEPTED_POLICY, "0303000001"),
        (PKIFailureInfo.UNACCEPTED_EXTENSION, "030407000080"),
        (PKIFailureInfo.ADD_INFO_NOT_AVAILABLE, "030406000040"),
        (PKIFailureInfo.SYSTEM_FAILURE, "03050600000040"),
    ],
)
def test_s18_fail_info_is_a_der_named_bit_list(failure: PKIFailureInfo, encoded: str) -> None:
    assert refused(encode_rejection(failure, "because"), encoded) == "because"
    # The name in RFC 3161, which logs and the JSON show.
    assert (
        getattr(PKIFailureInfo, failure.name).text
        == {
            "BAD_ALG": "badAlg",
            "BAD_REQUEST": "badRequest",
            "BAD_DATA_FORMAT": "badDataFormat",
            "TIME_NOT_AVAILABLE": "timeNotAvailable",
            "UNACCEPTED_POLICY": "unacceptedPolicy",
            "UNACCEPTED_EXTENSION": "unacceptedExtension",
            "ADD_INFO_NOT_AVAILABLE": "addInfoNotAvailable",
            "SYSTEM_FAILURE": "systemFailure",
        }[failure.name]
    )


class RefusingSelector(PolicySelector):
    """Refuses with a text of the test's."""

    def __init__(self, text: str) -> None:
        self._text = text

    def select(self, request: TimeStampReq, context: RequestContext) -> str | None:
        raise RequestRejected(PKIFailureInfo.BAD_REQUEST, self._text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("no", "no"), ("", "badRequest"), ("Größe ≠ 1", "Größe ≠ 1"), ("\ud800", "?"), ("x" * 5000, "x" * 5000)],
)
def test_s19_status_string_is_one_text_whatever_a_plugin_says(text: str, expected: str) -> None:
    with open_service(Parts(selectors=[RefusingSelector(text)])) as service:
        assert refused(service.authority.respond(PLAIN, RequestContext()).der, "03020520") == expected


SECRET = "10.1.2.3:8200 s.secret"


class CrashingProcessor(ResponseProcessor):
    """Raises what no processor should."""

    def process(self, response: bytes, draft: TokenDraft) -> bytes:
        raise ZeroDivisionError(SECRET)


class CrashingSelector(PolicySelector):
    """Raises what no selector should."""

    def select(self, request: TimeStampReq, context: RequestContext) -> str | None:
        if context.request_id == "trial":  # the start's own
            return None
        raise ZeroDivisionError(SECRET)


class LyingSelector(PolicySelector):
    """Names a profile that there is not."""

    def select(self, request: TimeStampReq, context: RequestContext) -> str | None:
        return None if context.request_id == "trial" else SECRET


def broken_parts(what: str) -> Parts:
    parts = Parts(signers={"p256": TestSigner()}, sinks=[TestSink()])
    if what == "processor":
        parts.processors = [CrashingProcessor()]
    elif what == "selector":
        parts.selectors = [CrashingSelector()]
    elif what == "unknown profile":
        parts.selectors = [LyingSelector()]
    return parts


BROKEN = ["signer down", "signer crash", "sink down", "sink crash", "processor", "selector", "unknown profile"]


@pytest.mark.parametrize("what", BROKEN)
def test_s19_text_never_names_the_servers_insides(what: str) -> None:
    parts = broken_parts(what)
    with open_service(parts) as service:
        (signer,) = parts.signers.values()
        (sink,) = parts.sinks
        assert isinstance(signer, TestSigner)
        assert isinstance(sink, TestSink)
        if what == "signer down":
            signer.go_down()
        elif what == "signer crash":
            signer.failure = RuntimeError(SECRET)
        elif what == "sink down":
            sink.failure = AuditError(SECRET)
        elif what == "sink crash":
            sink.failure = RuntimeError(SECRET)
        reply = service.authority.respond(PLAIN, RequestContext())
        text = refused(reply.der, "03050600000040")
        assert "secret" not in text
        assert "10.1.2.3" not in text
        assert "Error" not in text


def test_s20_one_signer_info(server: Server) -> None:
    assert len(granted(server.post(WITH_CERTIFICATES).body).signed_data["signer_infos"]) == 1


def test_s21_content_is_der_tst_info(server: Server) -> None:
    body = PlainRequest(policy="1.2.3.4.5", nonce=-5, cert_req=True).encode()
    reply = granted(server.post(body).body)
    assert reply.signed_data["encap_content_info"]["content_type"].dotted == "1.2.840.113549.1.9.16.1.4"
    assert_der(reply.content)
    assert tsp.TSTInfo.load(reply.content, strict=True).native["version"] == "v1"
    assert reply.tst_info.dump(force=True) == reply.content


@pytest.mark.parametrize(
    ("time", "digits", "expected"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 0, tzinfo=UTC), 0, "20260102030405Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 500000, tzinfo=UTC), 0, "20260102030405Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 0, tzinfo=UTC), 6, "20260102030405Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 500000, tzinfo=UTC), 1, "20260102030405.5Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 500000, tzinfo=UTC), 6, "20260102030405.5Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 1, tzinfo=UTC), 6, "20260102030405.000001Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 1, tzinfo=UTC), 5, "20260102030405Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 120300, tzinfo=UTC), 6, "20260102030405.1203Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 120300, tzinfo=UTC), 3, "20260102030405.12Z"),
        (datetime(2026, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), 0, "20261231235959Z"),
        (datetime(2026, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), 3, "20261231235959.999Z"),
        (datetime(2026, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), 6, "20261231235959.999999Z"),
        (datetime(2049, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), 0, "20491231235959Z"),
        (datetime(2050, 1, 1, 0, 0, 0, 100000, tzinfo=UTC), 1, "20500101000000.1Z"),
    ],
)
def test_s22_gen_time_is_truncated_and_has_no_idle_digits(time: datetime, digits: int, expected: str) -> None:
    assert stamp({"fraction_digits": digits}, at=time).gen_time == expected


def test_s22_whole_seconds_unless_more_is_asked(server: Server) -> None:
    text = granted(server.post(PLAIN).body).gen_time
    assert len(text) == 15
    assert text.endswith("Z")


def test_s23_midnight_is_000000_of_the_next_day() -> None:
    assert stamp(at=datetime(2028, 2, 29, 0, 0, 0, tzinfo=UTC)).gen_time == "20280229000000Z"
    assert stamp(at=datetime(2028, 2, 28, 23, 59, 59, 999999, tzinfo=UTC)).gen_time == "20280228235959Z"


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [
        ("1s", {"seconds": 1, "millis": None, "micros": None}),
        ("500ms", {"seconds": None, "millis": 500, "micros": None}),
        ("1500ms", {"seconds": 1, "millis": 500, "micros": None}),
        ("250us", {"seconds": None, "millis": None, "micros": 250}),
        ("999ms", {"seconds": None, "millis": 999, "micros": None}),
        ("1ms", {"seconds": None, "millis": 1, "micros": None}),
        ("1us", {"seconds": None, "millis": None, "micros": 1}),
        ("61s1ms999us", {"seconds": 61, "millis": 1, "micros": 999}),
        ("none", None),
    ],
)
def test_s24_accuracy_parts_are_1_to_999_or_absent(accuracy: str, expected: dict[str, int | None] | None) -> None:
    assert stamp({"accuracy": accuracy}).tst_info["accuracy"].native == expected


@pytest.mark.parametrize(
    ("accuracy", "encoded"),
    [("1s", "3003020101"), ("500ms", "3004800201f4"), ("1500ms", "3007020101800201f4"), ("250us", "3004810200fa")],
)
def test_s24_accuracy_bytes(accuracy: str, encoded: str) -> None:
    assert stamp({"accuracy": accuracy}).tst_info["accuracy"].dump().hex() == encoded


def test_s25_ordering_false_is_omitted() -> None:
    without = stamp()
    assert b"\x01\x01\x00" not in without.content
    assert without.tst_info["ordering"].native is False
    with_it = stamp({"ordering": True, "fraction_digits": 3})
    assert b"\x01\x01\xff" in with_it.content
    assert with_it.tst_info["ordering"].native is True


def test_s27_tsa_is_the_subject_in_explicit_tags() -> None:
    leaf = pki.der(pki.chain("p256"))[0]
    reply = stamp()
    name = subject(leaf)
    assert reply.tst_info["tsa"].chosen.untag().dump() == name
    expected = b"\xa4" + _length(len(name)) + name
    assert b"\xa0" + _length(len(expected)) + expected in reply.content


def _length(size: int) -> bytes:
    return bytes((size,)) if size < 0x80 else bytes((0x81, size))


def test_s27_tsa_absent_by_switch_or_without_a_subject() -> None:
    assert isinstance(stamp({"tsa_name": False}).tst_info["tsa"], core.Void)
    from cryptography import x509

    from tsa_core.protocol.signatures import signature_algorithm
    from tsa_core.protocol.template import TokenTemplate

    key = pki.key("p256")
    nameless = pki.certificate(
        x509.Name([]),
        key,
        pki.name("Conformance Intermediate"),
        pki.key("p384"),
        [*pki.LEAF_EXTENSIONS, (x509.SubjectAlternativeName([x509.DNSName("tsa.example")]), True)],
    )
    template = TokenTemplate(
        signer_certificate=pki.der([nameless])[0],
        certificates=(),
        algorithm=signature_algorithm(key.public_key()),
    )
    content = template.tst_info(
        policy_der=bytes.fromhex("06022a03"),
        imprint_der=bytes.fromhex("30053003060100" + "0400"),
        serial_der=b"\x02\x01\x01",
        gen_time_der=b"\x18\x0f20260101000000Z",
    )
    assert isinstance(tsp.TSTInfo.load(content)["tsa"], core.Void)


def test_s17_clock_errors_have_no_token() -> None:
    def broken() -> datetime:
        raise ClockError("the oscillator is warming up; try again in a minute")

    parts = Parts(clock=TestClock())
    with open_service(parts) as service:
        assert isinstance(parts.clock, TestClock)
        parts.clock.read = broken
        reply = read_reply(service.authority.respond(PLAIN, RequestContext()).der)
        assert reply.token is None
        assert reply.fail_info == bytes.fromhex("0303010002")
        assert reply.texts == ("the oscillator is warming up; try again in a minute",)


def test_s21_the_signature_of_every_reply_verifies(server: Server) -> None:
    for nonce in (None, 0, 2**63, 2**500):
        reply = granted(server.post(PlainRequest(nonce=nonce, cert_req=True).encode()).body)
        verify(reply, pki.der(pki.chain("p256"))[0])
