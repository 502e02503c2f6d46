"""One question after another to a real chronyd, through a man in the middle: what is believed, and what is not."""

from __future__ import annotations

import dataclasses
import logging
import os
import struct
import threading
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from hypothesis import given, settings
from hypothesis import strategies as st

from tsa_core.api.ntp.query import LeaveAlone, NoUsableAnswer, Sample
from tsa_core.builtin.clock import SystemClock
from tsa_core.testing import ends_within
from tsa_monitor_nts.extension_fields import NtsQuestion
from tsa_monitor_nts.key_exchange import Keys, Unreachable, trusting
from tsa_monitor_nts.server import NtsServer

from .nts_world import ExchangeThrough, KeyServerCa, ManInTheMiddle, NtsChronyd

HEADER = 48
TIMES = slice(32, 48)
IDENTIFIER, COOKIE, PLACEHOLDER, AUTHENTICATOR = 0x0104, 0x0204, 0x0304, 0x0404


def fields(packet: bytes) -> list[tuple[int, bytes]]:
    found, place = [], HEADER
    while place < len(packet):
        kind, size = struct.unpack_from("!HH", packet, place)
        found.append((kind, packet[place + 4 : place + size]))
        place += size
    return found


def bodies(packet: bytes, kind: int) -> list[bytes]:
    return [body for each, body in fields(packet) if each == kind]


@pytest.fixture
def middle(servers: list[NtsChronyd]) -> Iterator[ManInTheMiddle]:
    with ManInTheMiddle(servers[0].port) as running:
        yield running


@pytest.fixture
def exchange(servers: list[NtsChronyd], middle: ManInTheMiddle, ca: KeyServerCa) -> ExchangeThrough:
    exchange = ExchangeThrough("127.0.0.1", servers[0].key_port, trusting(ca.file, where="clock.nts.ca"))
    exchange.time_port = middle.port
    return exchange


@pytest.fixture
def server(exchange: ExchangeThrough) -> NtsServer:
    return NtsServer("a server", exchange, pause=60.0, max_distance=1.5)


def ask(server: NtsServer, *, timeout: float = 2.0) -> Sample:
    return server.ask(SystemClock(), timeout=timeout)


def refused(server: NtsServer, *, timeout: float = 0.3) -> str:
    with ends_within(timeout + 1), pytest.raises(NoUsableAnswer) as raised:
        ask(server, timeout=timeout)
    return str(raised.value)


def test_each_question_has_a_cookie_and_an_identifier_of_its_own(
    server: NtsServer, middle: ManInTheMiddle, exchange: ExchangeThrough
) -> None:
    for _ in range(20):
        assert abs(ask(server).offset) < 0.5
    assert exchange.runs == 1
    for kind in (COOKIE, IDENTIFIER):
        seen = [body for question in middle.questions for body in bodies(question, kind)]
        assert len(seen) == len(set(seen)) == 20
    for question in middle.questions:
        # Nothing else could tell a watcher that two questions have one origin (RFC 8915 9.1).
        assert question[:40] == b"\x23" + bytes(39)
        assert [kind for kind, _ in fields(question)] == [IDENTIFIER, COOKIE, AUTHENTICATOR]
    assert len(server._cookies) == 8


def test_lost_cookies_are_asked_for_again(server: NtsServer, middle: ManInTheMiddle) -> None:
    ask(server)
    middle.change = lambda *_: []
    for _ in range(3):
        assert refused(server) == "no answer"
    middle.change = lambda _, answer: [answer]
    ask(server)
    assert len(bodies(middle.questions[-1], PLACEHOLDER)) == 3
    assert len(server._cookies) == 8
    longest = max(len(question) for question in middle.questions)
    assert max(len(answer) for answer in middle.answers) <= longest <= 1200


def test_used_up_cookies_are_followed_by_a_key_exchange(
    server: NtsServer, middle: ManInTheMiddle, exchange: ExchangeThrough
) -> None:
    middle.change = lambda *_: []
    for _ in range(8):
        refused(server, timeout=0.05)
    assert "a key exchange must wait" in refused(server, timeout=0.05)
    assert exchange.runs == 1
    server._not_before = 0.0
    middle.change = lambda _, answer: [answer]
    ask(server)
    assert exchange.runs == 2


def test_an_answer_without_cookies_is_authentic_all_the_same(
    server: NtsServer, middle: ManInTheMiddle, exchange: ExchangeThrough
) -> None:
    def without_cookies(_: bytes, answer: bytes) -> list[bytes]:
        """What a server sends that has none to give."""
        before = answer[: HEADER + 36]
        nonce = os.urandom(16)
        assert server._keys is not None
        sealed = AESSIV(server._keys.to_client).encrypt(b"", [before, nonce])
        body = struct.pack("!HH", len(nonce), len(sealed)) + nonce + sealed
        return [before + struct.pack("!HH", AUTHENTICATOR, 4 + len(body)) + body]

    middle.change = without_cookies
    for left in reversed(range(8)):
        assert abs(ask(server).offset) < 0.5
        assert len(server._cookies) == left
    assert server._next_pause == 60.0, "the keys led to answers"
    server._not_before = 0.0
    ask(server)
    assert exchange.runs == 2


def test_the_log_says_where_the_time_is_asked_for(
    server: NtsServer, middle: ManInTheMiddle, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "tsa_monitor_nts"):
        for _ in range(2):
            ask(server)
            server._cookies.clear()
            server._not_before = 0.0
    assert caplog.messages == [f"the NTS server a server: the time is asked for at 127.0.0.1, port {middle.port}"]


def shifted(answer: bytes) -> bytes:
    return answer[:33] + bytes([answer[33] ^ 1]) + answer[34:]


def stripped(answer: bytes) -> bytes:
    return answer[:HEADER]


def without_authenticator(answer: bytes) -> bytes:
    size = struct.unpack_from("!H", answer, HEADER + 2)[0]
    return answer[: HEADER + size]


def without_identifier(answer: bytes) -> bytes:
    size = struct.unpack_from("!H", answer, HEADER + 2)[0]
    return answer[:HEADER] + answer[HEADER + size :]


def with_another_identifier(answer: bytes) -> bytes:
    return answer[: HEADER + 4] + bytes(32) + answer[HEADER + 36 :]


def truncated(answer: bytes) -> bytes:
    return answer[:-4]


def turned(answer: bytes) -> bytes:
    return answer[:-1] + bytes([answer[-1] ^ 0x80])


def with_a_stratum(answer: bytes) -> bytes:
    return answer[:1] + b"\x02" + answer[2:]


def with_an_endless_field(answer: bytes) -> bytes:
    return answer[:HEADER] + struct.pack("!HH", IDENTIFIER, 0) + answer[HEADER:]


def denied(answer: bytes) -> bytes:
    return answer[:1] + b"\0" + answer[2:12] + b"DENY" + answer[16:HEADER]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (shifted, "whose authenticator does not fit"),
        (with_a_stratum, "whose authenticator does not fit"),
        (turned, "whose authenticator does not fit"),
        (stripped, "that are not authenticated"),
        (without_authenticator, "that are not authenticated"),
        (without_identifier, "that are not authenticated"),
        (denied, "that are not authenticated"),
        (with_another_identifier, "with the identifier of another question"),
        (truncated, "whose extension fields cannot be read"),
        (with_an_endless_field, "whose extension fields cannot be read"),
        (lambda _: b"", "to other questions"),
        (lambda _: os.urandom(HEADER + 100), "to other questions"),
    ],
)
def test_what_was_changed_on_the_way_is_refused_with_a_reason(
    server: NtsServer, middle: ManInTheMiddle, change: object, why: str
) -> None:
    assert callable(change)
    middle.change = lambda _, answer: [change(answer)] * 3
    assert f"only answers {why}" in refused(server)
    # The true answer counts, whatever came before it.
    middle.change = lambda _, answer: [change(answer), answer]
    assert abs(ask(server).offset) < 0.5


def test_a_replayed_answer_is_refused(server: NtsServer, middle: ManInTheMiddle) -> None:
    ask(server)
    old = middle.answers[0]
    middle.change = lambda *_: [old]
    assert refused(server) == "only answers to other questions"
    # With the random number of the new question, the identifier is still that of the old one.
    middle.change = lambda question, _: [old[:24] + question[40:48] + old[32:]]
    assert "only answers with the identifier of another question" in refused(server)
    identifier = slice(HEADER + 4, HEADER + 36)
    middle.change = lambda question, _: [
        old[:24] + question[40:48] + old[32 : HEADER + 4] + question[identifier] + old[HEADER + 36 :]
    ]
    assert "authenticator does not fit" in refused(server)


def test_a_question_that_was_repeated_is_answered_once(server: NtsServer, middle: ManInTheMiddle) -> None:
    middle.change = lambda _, answer: [answer, answer]
    assert abs(ask(server).offset) < 0.5
    assert abs(ask(server).offset) < 0.5
    assert len(server._cookies) == 8


def test_a_delayed_answer_is_as_uncertain_as_it_is_late(server: NtsServer, middle: ManInTheMiddle) -> None:
    def late(_: bytes, answer: bytes) -> list[bytes]:
        threading.Event().wait(0.3)  # the delay is what is tested
        return [answer]

    middle.change = late
    sample = ask(server)
    assert sample.distance >= 0.15
    assert abs(sample.offset) <= sample.distance


def nak(question: bytes, answer: bytes) -> bytes:
    """An answer that anybody who sees the question can make (RFC 8915 5.7)."""
    (identifier,) = bodies(question, IDENTIFIER)
    head = answer[:1] + b"\0" + answer[2:12] + b"NTSN" + answer[16:HEADER]
    return head + struct.pack("!HH", IDENTIFIER, 4 + len(identifier)) + identifier


def test_a_made_up_nak_before_the_true_answer_changes_nothing(
    server: NtsServer, middle: ManInTheMiddle, exchange: ExchangeThrough
) -> None:
    middle.change = lambda question, answer: [nak(question, answer), answer]
    for _ in range(3):
        ask(server)
    assert exchange.runs == 1


def test_naks_alone_lead_to_a_key_exchange_and_cannot_ask_for_many(
    server: NtsServer, middle: ManInTheMiddle, exchange: ExchangeThrough
) -> None:
    middle.change = lambda question, answer: [nak(question, answer)]
    assert "NTS NAK" in refused(server, timeout=5)
    for _ in range(3):
        # Until keys may be exchanged again, the cookies at hand are tried, because a NAK proves nothing.
        assert "NTS NAK" in refused(server, timeout=5)
    assert exchange.runs == 1
    server._not_before = 0.0
    assert "NTS NAK" in refused(server, timeout=5)
    assert exchange.runs == 2
    assert server._next_pause == 60.0 * 1.5**2, "keys that led to no answer are no success"
    middle.change = lambda _, answer: [answer]
    ask(server)
    assert server._next_pause == 60.0


def test_a_server_that_was_restarted_is_asked_for_new_keys(
    servers: list[NtsChronyd], server: NtsServer, exchange: ExchangeThrough
) -> None:
    ask(server)
    servers[0].stop()
    servers[0].start()
    assert "NTS NAK" in refused(server, timeout=5)
    server._not_before = 0.0
    ask(server)
    assert exchange.runs == 2


@pytest.mark.parametrize(
    ("failure", "pauses"),
    [
        (NoUsableAnswer("it does not want to"), [round(min(60 * 1.5**n, 3600)) for n in range(12)]),
        (Unreachable("it does not want to"), [60] * 12),
    ],
)
def test_failed_key_exchanges_are_further_and_further_apart_when_they_cost_the_server_something(
    server: NtsServer,
    exchange: ExchangeThrough,
    monkeypatch: pytest.MonkeyPatch,
    failure: NoUsableAnswer,
    pauses: list[int],
) -> None:
    def fail(**_: float) -> Keys:
        raise failure

    monkeypatch.setattr(exchange, "run", fail)
    seen = []
    for _ in pauses:
        server._not_before = 0.0
        with pytest.raises(LeaveAlone, match="it does not want to") as raised:
            ask(server)
        seen.append(round(raised.value.seconds))
    assert seen == pauses


KEYS = Keys(to_server=bytes(32), to_client=bytes([1]) * 32, cookies=(), host="127.0.0.1", port=123)


def test_keys_and_cookies_are_not_shown() -> None:
    assert repr(dataclasses.replace(KEYS, cookies=(b"secret",))) == "Keys(host='127.0.0.1', port=123)"


KINDS = st.sampled_from([IDENTIFIER, COOKIE, AUTHENTICATOR, 7])
FIELDS = st.lists(st.tuples(KINDS, st.integers(0, 70), st.binary(max_size=60)), max_size=6).map(
    lambda parts: b"".join(struct.pack("!HH", kind, size) + body for kind, size, body in parts)
)


@settings(max_examples=300)
@given(tail=st.one_of(st.binary(max_size=400), FIELDS), identified=st.booleans())
def test_no_packet_without_the_keys_answers_a_question(tail: bytes, identified: bool) -> None:
    question = NtsQuestion(KEYS, b"c" * 100, missing=7)
    (identifier,) = bodies(question.packet, IDENTIFIER)
    head = b"\x24\x01" + bytes(22) + question.packet[40:48] + bytes(16)
    mine = struct.pack("!HH", IDENTIFIER, 36) + identifier if identified else b""
    assert question.complaint(head + mine + tail)
    assert question.cookies == ()
