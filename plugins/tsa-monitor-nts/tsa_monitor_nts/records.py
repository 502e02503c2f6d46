"""The records of NTS key establishment (RFC 8915 4.1): what is asked for, and what an answer must be."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

AEAD_AES_SIV_CMAC_256 = 15
"""The algorithm that every implementation has (RFC 8915 5.1), and the only one that is asked for."""
NTPV4 = 0
MAX_COOKIES = 8
"""How many are kept; more would only grow old (RFC 8915 5.7)."""
MAX_COOKIE_OCTETS = 512
MAX_MESSAGE_OCTETS = 16_384

_END, _PROTOCOLS, _ERROR, _WARNING, _AEADS, _COOKIE, _SERVER, _PORT = range(8)
_CRITICAL = 0x8000
_HEAD = struct.Struct("!HH")
_ERRORS = {0: "unrecognised critical record", 1: "bad request", 2: "internal server error"}
_MAX_NAME_OCTETS = 253


class BadRecords(Exception):
    """An answer that no key comes from; the text is for the operator."""


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What a server offers. `server` and `port` say where to ask for the time, None when it did not say."""

    cookies: tuple[bytes, ...] = field(repr=False)
    server: str | None = None
    port: int | None = None


def _record(kind: int, body: bytes = b"", *, critical: bool = True) -> bytes:
    return _HEAD.pack(kind | (_CRITICAL if critical else 0), len(body)) + body


REQUEST = (
    _record(_PROTOCOLS, struct.pack("!H", NTPV4))
    + _record(_AEADS, struct.pack("!H", AEAD_AES_SIV_CMAC_256))
    + _record(_END)
)


def scan(message: bytes, place: int) -> tuple[int, bool]:
    """Return where the first record begins that is not whole, from `place` on, and whether End of Message was seen.

    Raises BadRecords for a message that is too long.
    """
    ended = False
    for kind, _, body in _records(message, place):
        place += _HEAD.size + len(body)
        ended = ended or kind == _END
    if len(message) > MAX_MESSAGE_OCTETS:
        raise BadRecords(f"it sends more than {MAX_MESSAGE_OCTETS} octets of records")
    return place, ended


def read_offer(message: bytes) -> Offer:
    """Return what an answer offers; raises BadRecords for anything but one that can be used."""
    found: dict[int, bytes] = {}
    cookies: list[bytes] = []
    ended = False
    for kind, critical, body in _records(message):
        if ended:
            raise BadRecords("it sends records after the end of its message")
        ended = kind == _END
        if kind in {_ERROR, _WARNING}:
            code = int.from_bytes(body[:2], "big")
            if kind == _WARNING:
                raise BadRecords(f"it answers with a warning: code {code}")
            raise BadRecords(f"it answers with an error: {_ERRORS.get(code, f'code {code}')}")
        if kind == _COOKIE:
            if not 0 < len(body) <= MAX_COOKIE_OCTETS:
                raise BadRecords(f"it sends a cookie of {len(body)} octets")
            cookies.append(body)
        elif kind in {_PROTOCOLS, _AEADS, _SERVER, _PORT, _END}:
            if kind in found:
                raise BadRecords(f"it sends record {kind} twice")
            found[kind] = body
        elif critical:
            raise BadRecords(f"it sends a critical record {kind}, which is unknown here")
    if not ended:
        raise BadRecords("it ended the connection before its message")
    if found.get(_PROTOCOLS) != struct.pack("!H", NTPV4):
        raise BadRecords("it does not offer NTPv4")
    if found.get(_AEADS) != struct.pack("!H", AEAD_AES_SIV_CMAC_256):
        raise BadRecords("it does not offer AEAD_AES_SIV_CMAC_256, the algorithm that every server must have")
    if not cookies:
        raise BadRecords("it sends no cookie")
    return Offer(cookies=tuple(cookies[:MAX_COOKIES]), server=_name(found.get(_SERVER)), port=_port(found.get(_PORT)))


def _records(message: bytes, place: int = 0) -> Iterator[tuple[int, bool, bytes]]:
    """Yield the whole records of a message, or of the beginning of one, from `place` on: kind, critical, body."""
    while len(message) - place >= _HEAD.size:
        kind, size = _HEAD.unpack_from(message, place)
        place += _HEAD.size
        if len(message) - place < size:
            return
        yield kind & ~_CRITICAL, bool(kind & _CRITICAL), message[place : place + size]
        place += size


def _name(body: bytes | None) -> str | None:
    if body is None:
        return None
    name = body.decode("ascii", "replace")
    if not 0 < len(body) <= _MAX_NAME_OCTETS or not all("!" <= letter <= "~" for letter in name):
        raise BadRecords("it names a time server that is no name")
    return name


def _port(body: bytes | None) -> int | None:
    if body is None:
        return None
    if len(body) != 2 or not any(body):
        raise BadRecords("it names a port that is none")
    return int.from_bytes(body, "big")
