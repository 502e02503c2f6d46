"""One question to one server over real UDP, and every answer that must not be believed."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import ntplib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsa_core.api import Clock, ClockAnchor, TimeReading
from tsa_core.api.ntp.query import KissOfDeath, NoUsableAnswer, Sample, _judge, parse_server
from tsa_core.builtin.clock import SystemClock
from tsa_core.testing import ends_within
from tsa_core.testing.ntp_responder import NtpResponder, ntp_timestamp
from tsa_monitor_ntp.monitor import NtpServer


@pytest.fixture
def responder() -> Iterator[NtpResponder]:
    with NtpResponder() as running:
        yield running


def ask(responder: NtpResponder, *, clock: Clock | None = None, timeout: float = 2.0) -> Sample:
    return put("127.0.0.1", responder.port, clock or SystemClock(), timeout=timeout)


def put(host: str, port: int, clock: Clock, *, timeout: float) -> Sample:
    return NtpServer("a server", host, port, max_distance=1.5).ask(clock, timeout=timeout)


@pytest.mark.parametrize("offset", [0.0, 0.25, -0.25, 30.0, -86400.0])
def test_offset_is_clock_minus_server(responder: NtpResponder, offset: float) -> None:
    responder.offset = offset
    sample = ask(responder)
    assert abs(sample.offset + offset) <= sample.distance + 0.001
    assert sample.distance < 0.5
    assert sample.delay >= 0
    assert sample.address == "127.0.0.1"


def test_distance_counts_the_servers_own_uncertainty(responder: NtpResponder) -> None:
    responder.root_delay, responder.root_dispersion = 0.5, 0.25
    sample = ask(responder)
    assert 0.5 <= sample.distance < 1.0


class _ClockIn2040(Clock):
    def now(self) -> TimeReading:
        return TimeReading(datetime.now(UTC) + timedelta(days=365 * 16))


def test_next_era_of_ntp_timestamps_is_understood(responder: NtpResponder) -> None:
    responder.offset = timedelta(days=365 * 16).total_seconds()
    assert abs(ask(responder, clock=_ClockIn2040()).offset) < 0.5


UNITS = 2**32
"""Of NTP timestamps in a second; also the seconds of an era."""
EPOCH = datetime(1900, 1, 1, tzinfo=UTC)


@given(
    asked=st.timedeltas(timedelta(days=126 * 365), timedelta(days=160 * 365)).map(lambda since: EPOCH + since),
    shift=st.integers(-3600 * UNITS, 3600 * UNITS),
    held=st.integers(0, UNITS),
    way=st.floats(0, 0.5),
)
def test_what_floats_lose_is_part_of_the_distance(asked: datetime, shift: int, held: int, way: float) -> None:
    """Against exact arithmetic, on both sides of the end of the era in 2036."""
    microsecond = timedelta(microseconds=1)
    asked_at = Fraction((asked - EPOCH) // microsecond, 10**6)
    received = int(asked_at * UNITS) + shift
    elapsed = way + held / UNITS
    octets = b"".join((moment % UNITS**2 or 1).to_bytes(8, "big") for moment in (received, received + held))
    answer = ntplib.NTPPacket()
    answer.from_data(struct.pack("!BBbb", 4 << 3 | 4, 1, 0, -32) + bytes(28) + octets)
    sample = _judge(answer, ClockAnchor(asked, 0.0), elapsed, ("", 123), float("inf"))
    there = Fraction(received, UNITS) - asked_at
    offset = -(there + there + Fraction(held, UNITS) - Fraction(elapsed)) / 2
    distance = max(Fraction(elapsed) - Fraction(held, UNITS), Fraction(0)) / 2 + Fraction(1, UNITS)
    assert abs(Fraction(sample.offset) - offset) + distance <= Fraction(sample.distance)
    assert Fraction(sample.distance) < distance + Fraction(4, 10**6)


@pytest.mark.parametrize(("leap", "warning"), [(0, "none"), (1, "insert"), (2, "delete")])
def test_announced_leap_second(responder: NtpResponder, leap: int, warning: str) -> None:
    responder.leap = leap
    assert ask(responder).leap == warning


@pytest.mark.parametrize(
    ("leap", "stratum", "reference"), [(3, 1, b"TEST"), (0, 0, bytes(4)), (3, 0, bytes(4)), (0, 16, b"TEST")]
)
def test_unsynchronised_server_is_refused(responder: NtpResponder, leap: int, stratum: int, reference: bytes) -> None:
    responder.leap, responder.stratum, responder.reference = leap, stratum, reference
    with pytest.raises(NoUsableAnswer, match="not synchronised"):
        ask(responder)


@pytest.mark.parametrize("code", ["RATE", "DENY", "RSTR", "XFAC"])
def test_kiss_of_death(responder: NtpResponder, code: str) -> None:
    responder.stratum, responder.reference, responder.leap = 0, code.encode(), 3
    with pytest.raises(KissOfDeath) as raised:
        ask(responder)
    assert raised.value.code == code


def test_kiss_of_death_of_strangers_is_ignored(responder: NtpResponder) -> None:
    def answers(request: bytes, right: bytes) -> list[bytes]:
        return [right[:1] + b"\0" + right[2:12] + b"DENY" + right[16:24] + bytes(8) + right[32:], right]

    responder.answers = answers
    assert abs(ask(responder).offset) < 0.5


def test_answer_to_another_question_is_ignored(responder: NtpResponder) -> None:
    responder.answers = lambda _, right: [right[:24] + b"\1" * 8 + right[32:]]
    with pytest.raises(NoUsableAnswer, match="other questions"):
        ask(responder, timeout=0.2)


def test_replayed_answer_is_ignored(responder: NtpResponder) -> None:
    recorded: list[bytes] = []

    def answers(_: bytes, right: bytes) -> list[bytes]:
        recorded.append(right)
        return recorded[:1]

    responder.answers = answers
    ask(responder)
    with pytest.raises(NoUsableAnswer, match="other questions"):
        ask(responder, timeout=0.2)


def test_right_answer_after_a_replay_is_found(responder: NtpResponder) -> None:
    responder.answers = lambda _, right: [b"garbage", right[:24] + bytes(8) + right[32:], right]
    assert abs(ask(responder).offset) < 0.5


@pytest.mark.parametrize("packet", [b"", b"\xff", b"x" * 47, b"x" * 48, bytes(1000)])
def test_garbage_is_ignored(responder: NtpResponder, packet: bytes) -> None:
    responder.answers = lambda *_: [packet] * 3
    with pytest.raises(NoUsableAnswer):
        ask(responder, timeout=0.2)


def test_flood_of_garbage_ends(responder: NtpResponder) -> None:
    responder.answers = lambda *_: [b"garbage"] * 200
    with ends_within(10), pytest.raises(NoUsableAnswer):
        ask(responder, timeout=60)


@pytest.mark.parametrize("mode", [1, 2, 3, 5, 6, 7])
def test_other_modes_are_ignored(responder: NtpResponder, mode: int) -> None:
    responder.answers = lambda _, right: [bytes([right[0] & 0xF8 | mode]) + right[1:]]
    with pytest.raises(NoUsableAnswer):
        ask(responder, timeout=0.1)


def test_silence_ends_after_the_timeout(responder: NtpResponder) -> None:
    responder.silent = True
    started = time.monotonic()
    with ends_within(0.2), pytest.raises(NoUsableAnswer, match="no answer"):
        ask(responder, timeout=0.2)
    assert time.monotonic() - started > 0.15


def test_nobody_there_is_noticed_at_once() -> None:
    with NtpResponder() as gone:
        pass
    with pytest.raises(NoUsableAnswer, match="no answer"):
        put("127.0.0.1", gone.port, SystemClock(), timeout=5)


def test_unknown_name_is_no_answer() -> None:
    with pytest.raises(NoUsableAnswer, match="cannot be resolved"):
        put("name..invalid", 123, SystemClock(), timeout=1)


def test_a_name_that_is_resolved_too_late_is_not_asked(responder: NtpResponder) -> None:
    with pytest.raises(NoUsableAnswer, match="the name was not resolved in time"):
        put("127.0.0.1", responder.port, SystemClock(), timeout=0)
    assert responder.requests == 0


def test_impossible_delay_is_refused(responder: NtpResponder) -> None:
    # The server claims to have held the request for longer than the answer took.
    responder.answers = lambda _, right: [right[:40] + ntp_timestamp(time.time() + 1)]
    with pytest.raises(NoUsableAnswer, match="impossible"):
        ask(responder)


def test_answer_that_was_sent_before_the_question_came_is_refused(responder: NtpResponder) -> None:
    responder.answers = lambda _, right: [right[:40] + ntp_timestamp(time.time() - 1)]
    with pytest.raises(NoUsableAnswer, match="impossible"):
        ask(responder)


@pytest.mark.parametrize(("delay", "dispersion"), [(3.5, 0.0), (0.0, 2.0), (65535.0, 65535.0)])
def test_absurd_distance_is_refused(responder: NtpResponder, delay: float, dispersion: float) -> None:
    responder.root_delay, responder.root_dispersion = delay, dispersion
    with pytest.raises(NoUsableAnswer, match="max_root_distance"):
        ask(responder)


def test_answer_without_time_is_refused(responder: NtpResponder) -> None:
    responder.answers = lambda _, right: [right[:32] + bytes(16)]
    with pytest.raises(NoUsableAnswer, match="holds no time"):
        ask(responder)


def test_request_does_not_tell_the_local_time(responder: NtpResponder) -> None:
    seen: list[bytes] = []

    def answers(request: bytes, right: bytes) -> list[bytes]:
        seen.append(request)
        return [right]

    responder.answers = answers
    ask(responder)
    ask(responder)
    assert all(request[:1] == b"\x23" and request[1:40] == bytes(39) for request in seen)
    times = [struct.unpack("!Q", request[40:48])[0] for request in seen]
    now = struct.unpack("!Q", ntp_timestamp(time.time()))[0]
    assert len(set(times)) == 2
    assert not any(abs(stamp - now) < 2**32 * 3600 for stamp in times)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("time.example.org", ("time.example.org", 123)),
        ("time.example.org:1123", ("time.example.org", 1123)),
        ("192.0.2.1", ("192.0.2.1", 123)),
        ("192.0.2.1:9", ("192.0.2.1", 9)),
        ("2001:db8::1", ("2001:db8::1", 123)),
        ("[2001:db8::1]", ("2001:db8::1", 123)),
        ("[2001:db8::1]:9", ("2001:db8::1", 9)),
    ],
)
def test_servers_are_read(text: str, expected: tuple[str, int]) -> None:
    assert parse_server(text, default_port=123) == expected


@pytest.mark.parametrize("text", ["", ":123", "name:", "name:0x7b", "name:0", "name:65536", "[::1]x", "[]:1"])
def test_what_is_no_server_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        parse_server(text, default_port=123)


def test_anchor_is_the_clock_at_the_question(responder: NtpResponder) -> None:
    before = ClockAnchor.take(SystemClock())
    anchor = ask(responder).anchor
    assert before.monotonic <= anchor.monotonic <= time.monotonic()
    assert abs(before.moved(anchor)) < 0.1
