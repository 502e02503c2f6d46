"""One question to one NTP server, and what makes its answer unusable (RFC 5905)."""

from __future__ import annotations

import os
import random
import socket
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import ntplib

from tsa_core.api import Clock, ClockAnchor, LeapWarning

NTP_PORT = 123
_ERA_SECONDS = 2.0**32
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HEADER_OCTETS = 48
_MODE_SERVER = 4
_MAX_STRANGE_ANSWERS = 64
_NEGATIVE_DELAY_SECONDS = -0.001
"""Clocks tick coarsely, so that a delay next to nothing can come out below nothing."""
_LEAPS: dict[int, LeapWarning] = {0: "none", 1: "insert", 2: "delete"}


class NoUsableAnswer(Exception):
    """A server that did not answer, or not so that it could be believed; the text is for the operator."""


class KissOfDeath(NoUsableAnswer):
    """The server asks us to go away, or to ask less often (RFC 5905 7.4); `code` is RATE, DENY, RSTR or another."""

    def __init__(self, code: str) -> None:
        super().__init__(f"kiss-o'-death {code}")
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A usable answer. Seconds; `offset` is clock minus server, at the clock's reading `anchor`.

    `distance` bounds the offset's error: half of the way there and back, and what the server says of its own.
    """

    address: str
    stratum: int
    offset: float
    delay: float
    distance: float
    leap: LeapWarning
    anchor: ClockAnchor


def parse_server(text: str) -> tuple[str, int]:
    """Return host and port of NAME, NAME:PORT, an address or [IPv6]:PORT; raises ValueError."""
    host, colon, port = text, "", ""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        colon, port = rest[:1], rest[1:]
    elif text.count(":") == 1:
        host, colon, port = text.partition(":")
    number = int(port) if port.isascii() and port.isdigit() else 0 if colon else NTP_PORT
    if not host or colon not in {"", ":"} or not 0 < number < 65536:
        raise ValueError(f"{text!r} is no time server; write NAME, NAME:PORT or [IPv6]:PORT")
    return host, number


def query(host: str, port: int, clock: Clock, *, timeout: float, max_distance: float) -> Sample:
    """Ask a server for the time; raises NoUsableAnswer.

    The name is resolved each time, and one of its addresses taken at random. The request carries a random transmit
    timestamp instead of the time, so that only the server, or somebody on the way, can have made the answer.
    """
    family, address = _resolve(host, port)
    with socket.socket(family, socket.SOCK_DGRAM) as connection:
        try:
            connection.connect(address)
            cookie = os.urandom(8)
            request = ntplib.NTPPacket(version=4, mode=3).to_data()[:40] + cookie
            sent = ClockAnchor.take(clock)
            connection.send(request)
            data, received = _receive(connection, cookie, deadline=sent.monotonic + timeout)
        except OSError as error:
            raise NoUsableAnswer(f"no answer: {error.strerror or error}") from None
    return _read_answer(data, sent, received - sent.monotonic, address[0], max_distance)


def _resolve(host: str, port: int) -> tuple[int, tuple[str, int]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise NoUsableAnswer(f"the name cannot be resolved: {getattr(error, 'strerror', None) or error}") from None
    # The system sorts the family that works to the front.
    same = [entry for entry in found if entry[0] == found[0][0]]
    chosen = random.choice(same)  # noqa: S311 - spreads the load, guards nothing
    return int(chosen[0]), chosen[4]  # type: ignore[return-value] # of UDP over IP, host and port come first


def _receive(connection: socket.socket, cookie: bytes, *, deadline: float) -> tuple[bytes, float]:
    """Return the first packet that answers this very request, and when it came."""
    strange = 0
    while (left := deadline - time.monotonic()) > 0 and strange < _MAX_STRANGE_ANSWERS:
        connection.settimeout(left)
        try:
            data = connection.recv(1024)
        except TimeoutError:
            break
        received = time.monotonic()
        if len(data) >= _HEADER_OCTETS and data[24:32] == cookie and data[0] & 7 == _MODE_SERVER:
            return data, received
        strange += 1
    raise NoUsableAnswer("only answers to other questions" if strange else "no answer")


def _read_answer(data: bytes, sent: ClockAnchor, elapsed: float, address: str, max_distance: float) -> Sample:
    answer = ntplib.NTPStats()
    answer.from_data(data)
    if answer.stratum == 0 and answer.ref_id:
        raise KissOfDeath(_kiss_code(answer.ref_id))
    if answer.leap == 3 or not 1 <= answer.stratum <= 15:
        raise NoUsableAnswer("the server says that it is not synchronised")
    if not answer.recv_timestamp or not answer.tx_timestamp:
        raise NoUsableAnswer("the answer holds no time")
    transmitted = (sent.time - _EPOCH).total_seconds() + ntplib.NTP.NTP_DELTA
    there = _wrap(answer.recv_timestamp - transmitted)
    back = _wrap(answer.tx_timestamp - transmitted) - elapsed
    held = _wrap(answer.tx_timestamp - answer.recv_timestamp)
    delay = elapsed - held
    if held < 0 or delay < _NEGATIVE_DELAY_SECONDS:
        raise NoUsableAnswer(f"the answer took {delay:.6f} s, which is impossible")
    precision: float = 2.0 ** max(-32, min(answer.precision, 4))
    distance = max(delay, 0.0) / 2 + answer.root_delay / 2 + answer.root_dispersion + precision
    if distance > max_distance:
        raise NoUsableAnswer(f"the answer may be {distance:.3f} s off, more than max_root_distance")
    return Sample(
        address=address,
        stratum=answer.stratum,
        offset=-(there + back) / 2,
        delay=max(delay, 0.0),
        distance=distance,
        leap=_LEAPS[answer.leap],
        anchor=sent,
    )


def _wrap(difference: float) -> float:
    """Return a difference of NTP timestamps across the end of an era, 2036-02-07, as the nearer one."""
    return (difference + _ERA_SECONDS / 2) % _ERA_SECONDS - _ERA_SECONDS / 2


def _kiss_code(ref_id: int) -> str:
    text = ref_id.to_bytes(4, "big").rstrip(b"\0").decode("ascii", "replace")
    return text if text.isalnum() else "with an unknown code"
