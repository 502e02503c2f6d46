"""One question to one NTP server, and what makes its answer unusable (RFC 5905)."""

from __future__ import annotations

import os
import random
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TypeAlias

from tsa_core.api.clock import Clock, ClockAnchor, LeapWarning

HEADER_OCTETS = 48
_TRANSMIT_TIME = 40
"""Where a packet's transmit timestamp begins: the last eight octets of the header."""
_ERA_SECONDS = 2.0**32
_EPOCH = datetime(1900, 1, 1, tzinfo=UTC)
_ROUNDING_SECONDS = 2.0**-19
"""More than what offset and half of the delay lose together: times since 1900 are floats that lose up to 0.24 us each.

From 2036 on, the clock's own loses up to 0.48 us.
"""
_MODE_SERVER = 4
_MAX_ANSWER_OCTETS = 2048
_MAX_STRANGE_ANSWERS = 64
_NEGATIVE_DELAY_SECONDS = -0.001
"""Clocks tick coarsely, so that a delay next to nothing can come out below nothing."""
_LEAPS: dict[int, LeapWarning] = {0: "none", 1: "insert", 2: "delete"}
Address: TypeAlias = tuple[Any, ...]
"""What socket.connect takes over IP: host and port come first, and over IPv6 there is more."""


class NoUsableAnswer(Exception):
    """A server that did not answer, or not so that it could be believed; the text is for the operator."""


class KissOfDeath(NoUsableAnswer):
    """The server asks us to go away, or to ask less often (RFC 5905 7.4); `code` is RATE, DENY, RSTR or another."""

    def __init__(self, code: str) -> None:
        super().__init__(f"kiss-o'-death {code}")
        self.code = code


class LeaveAlone(NoUsableAnswer):
    """The server must not be asked again for `seconds`."""

    def __init__(self, text: str, seconds: float) -> None:
        super().__init__(text)
        self.seconds = seconds


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A usable answer. Seconds; `offset` is clock minus server, at the clock's reading `anchor`.

    `distance` bounds the offset's error: half of the way there and back, and what the server says of its own. `port`
    is where the answer came from at `address`, None when nobody knows.
    """

    address: str
    stratum: int
    offset: float
    delay: float
    distance: float
    leap: LeapWarning
    anchor: ClockAnchor
    port: int | None = None


class TimeServer(ABC):
    """One server of a monitor. `name` is what the settings call it; `address` is the same however that is written.

    `authenticated` says whether an answer is believed only when it is proven to be this server's.
    """

    authenticated = False

    def __init__(self, name: str, host: str, port: int) -> None:
        self.name = name
        self.address = f"{host.rstrip('.').lower()}:{port}"

    @abstractmethod
    def ask(self, clock: Clock, *, timeout: float) -> Sample:
        """Ask for the time once; raises NoUsableAnswer, after `timeout` seconds at the latest.

        Called by one thread at a time. Later only where the system's resolver takes longer, which nothing ends.
        """


class Packet(Protocol):
    """An NTP packet without extension fields, as `ntplib.NTPPacket` is one: RFC 5905 7.3, in seconds.

    The core has no ntplib (decision 284): a monitor's plugin brings it. Times count from the beginning of an era, 1900
    or 2036; `ref_id` is the number that its four octets are.
    """

    leap: int
    stratum: int
    precision: int
    root_delay: float
    root_dispersion: float
    ref_id: int
    recv_timestamp: float
    tx_timestamp: float

    def to_data(self) -> bytes:
        """Return its 48 octets."""

    def from_data(self, data: bytes) -> None:
        """Become what 48 octets say; what follows them is left alone."""


class Question:
    """One request, `packet`, and how its answer is told from other packets and read.

    `new_packet` makes a client's packet: version 4, mode 3, all else 0. It gets a random transmit timestamp instead of
    the time, so that only the server, or somebody on the way, can have made the answer. `until` is the time.monotonic()
    at which the answer is waited for no longer.
    """

    def __init__(self, new_packet: Callable[[], Packet]) -> None:
        self._new_packet = new_packet
        self._origin = os.urandom(8)
        self.packet = new_packet().to_data()[:_TRANSMIT_TIME] + self._origin
        self.until = float("inf")

    def complaint(self, data: bytes) -> str:
        """Return what packets are called that do not answer this very request; empty when `data` does."""
        if len(data) >= HEADER_OCTETS and data[24:32] == self._origin and data[0] & 7 == _MODE_SERVER:
            return ""
        return "answers to other questions"

    def read(self, data: bytes) -> Packet:
        """Return what an answer says that `complaint` has nothing against."""
        answer = self._new_packet()
        answer.from_data(data)
        return answer


def parse_server(text: str, *, default_port: int) -> tuple[str, int]:
    """Return host and port of NAME, NAME:PORT, an address or [IPv6]:PORT; raises ValueError."""
    host, colon, port = text, "", ""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        colon, port = rest[:1], rest[1:]
    elif text.count(":") == 1:
        host, colon, port = text.partition(":")
    number = int(port) if port.isascii() and port.isdigit() else 0 if colon else default_port
    if not host or colon not in {"", ":"} or not 0 < number < 65536:
        raise ValueError(f"{text!r} is no time server; write NAME, NAME:PORT or [IPv6]:PORT")
    return host, number


def query(host: str, port: int, question: Question, clock: Clock, *, deadline: float, max_distance: float) -> Sample:
    """Put a question to a server; raises NoUsableAnswer, at the time.monotonic() `deadline` at the latest.

    The name is resolved each time, as `resolve` does it. `max_distance` is in seconds.
    """
    family, address = resolve(host, port, socket.SOCK_DGRAM, deadline=deadline)
    with socket.socket(family, socket.SOCK_DGRAM) as connection:
        try:
            connection.connect(address)
            sent = ClockAnchor.take(clock)
            connection.send(question.packet)
            data, received = _receive(connection, question, deadline=deadline)
        except OSError as error:
            raise NoUsableAnswer(f"no answer: {error.strerror or error}") from None
    return _judge(question.read(data), sent, received - sent.monotonic, address, max_distance)


def resolve(host: str, port: int, kind: socket.SocketKind, *, deadline: float) -> tuple[int, Address]:
    """Return the family and one of the addresses of a name, at random; raises NoUsableAnswer.

    Nothing ends the system's resolver. When it comes back after the time.monotonic() `deadline`, that is an error.
    """
    try:
        found = socket.getaddrinfo(host, port, type=kind)
    except (OSError, UnicodeError) as error:
        raise NoUsableAnswer(f"the name cannot be resolved: {getattr(error, 'strerror', None) or error}") from None
    if time.monotonic() >= deadline:
        raise NoUsableAnswer("the name was not resolved in time")
    # The system sorts the family that works to the front.
    same = [entry for entry in found if entry[0] == found[0][0]]
    chosen = random.choice(same)  # noqa: S311 - spreads the load, guards nothing
    return int(chosen[0]), chosen[4]


def _receive(connection: socket.socket, question: Question, *, deadline: float) -> tuple[bytes, float]:
    """Return the first packet that answers this very request, and when it came."""
    strange, complaint = 0, ""
    while strange < _MAX_STRANGE_ANSWERS and (left := min(deadline, question.until) - time.monotonic()) > 0:
        connection.settimeout(left)
        try:
            data = connection.recv(_MAX_ANSWER_OCTETS)
        except TimeoutError:
            break
        received = time.monotonic()
        if not (complaint := question.complaint(data)):
            return data, received
        strange += 1
    raise NoUsableAnswer(f"only {complaint}" if strange else "no answer")


def _judge(answer: Packet, sent: ClockAnchor, elapsed: float, address: Address, max_distance: float) -> Sample:
    if answer.stratum == 0 and answer.ref_id:
        raise KissOfDeath(_kiss_code(answer.ref_id))
    leap = _LEAPS.get(answer.leap)
    if leap is None or not 1 <= answer.stratum <= 15:
        raise NoUsableAnswer("the server says that it is not synchronised")
    if not answer.recv_timestamp or not answer.tx_timestamp:
        raise NoUsableAnswer("the answer holds no time")
    asked = (sent.time - _EPOCH).total_seconds()
    there = _difference(answer.recv_timestamp, asked)
    back = _difference(answer.tx_timestamp, asked) - elapsed
    held = _difference(answer.tx_timestamp, answer.recv_timestamp)
    delay = elapsed - held
    if held < 0 or delay < _NEGATIVE_DELAY_SECONDS:
        raise NoUsableAnswer(f"the answer took {delay:.6f} s, which is impossible")
    precision: float = 2.0 ** max(-32, min(answer.precision, 4))
    own = precision + answer.root_delay / 2 + answer.root_dispersion
    distance = max(delay, 0.0) / 2 + own + sent.error + _ROUNDING_SECONDS
    if distance > max_distance:
        raise NoUsableAnswer(f"the answer may be {distance:.3f} s off, more than max_root_distance")
    return Sample(
        address=address[0],
        port=address[1],
        stratum=answer.stratum,
        offset=-(there + back) / 2,
        delay=max(delay, 0.0),
        distance=distance,
        leap=leap,
        anchor=sent,
    )


def _difference(later: float, earlier: float) -> float:
    """Return the seconds between NTP timestamps, as the nearer one across the end of an era, 2036-02-07."""
    return (later - earlier + _ERA_SECONDS / 2) % _ERA_SECONDS - _ERA_SECONDS / 2


def _kiss_code(ref_id: int) -> str:
    text = ref_id.to_bytes(4, "big").rstrip(b"\0").decode("ascii", "replace")
    return text if text.isalnum() else "with an unknown code"
