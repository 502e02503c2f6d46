"""NTP packets that are authenticated by NTS (RFC 8915 5): a question's extension fields, and an answer's."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from functools import partial

import ntplib
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from tsa_core.api.ntp.query import HEADER_OCTETS, Question
from tsa_monitor_nts.key_exchange import Keys
from tsa_monitor_nts.records import MAX_COOKIE_OCTETS, MAX_COOKIES

_new_packet = partial(ntplib.NTPPacket, version=4, mode=3)
"""Makes a client's packet, to which the extension fields are added."""
_IDENTIFIER = 0x0104
_COOKIE = 0x0204
_PLACEHOLDER = 0x0304
_AUTHENTICATOR = 0x0404
_HEAD = struct.Struct("!HH")
_IDENTIFIER_OCTETS = 32
_NONCE_OCTETS = 16
_TAG_OCTETS = 16
_REQUEST_OCTETS = 1200
"""Fits every path on the Internet in one piece, with the headers of IPv6 and UDP; an answer is as long."""
_AUTHENTICATOR_OCTETS = 2 * _HEAD.size + _NONCE_OCTETS + _TAG_OCTETS
_NAK = b"NTSN"
_AFTER_NAK_SECONDS = 0.5
"""How long an authentic answer is waited for after a NAK, which anybody who saw the question can send."""


class NtsQuestion(Question):
    """One question with a cookie, which no other question has, and the keys that belong to it.

    `missing` is how many cookies the client is short of, but for the one of this question. `answered` says that there
    was an authentic answer, and `cookies` are the new ones in it. `refused` says that the server did not know the
    cookie.
    """

    def __init__(self, keys: Keys, cookie: bytes, *, missing: int) -> None:
        super().__init__(_new_packet)
        self._to_client = AESSIV(keys.to_client)
        self._identifier = os.urandom(_IDENTIFIER_OCTETS)
        self.cookies: tuple[bytes, ...] = ()
        self.answered = False
        self.refused = False
        self.packet += _field(_IDENTIFIER, self._identifier) + _field(_COOKIE, cookie)
        placeholder = _field(_PLACEHOLDER, bytes(len(cookie)))
        room = _REQUEST_OCTETS - len(self.packet) - _AUTHENTICATOR_OCTETS
        self.packet += placeholder * min(missing, MAX_COOKIES - 1, max(0, room) // len(placeholder))
        nonce = os.urandom(_NONCE_OCTETS)
        sealed = AESSIV(keys.to_server).encrypt(b"", [self.packet, nonce])
        self.packet += _field(_AUTHENTICATOR, _HEAD.pack(len(nonce), len(sealed)) + nonce + sealed)

    def complaint(self, data: bytes) -> str:
        """Return what packets are called that are no authentic answer to this question; empty when `data` is one."""
        if what := super().complaint(data):
            return what
        identified = False
        try:
            for start, kind, body in _fields(data, HEADER_OCTETS):
                if kind == _IDENTIFIER:
                    identified = body == self._identifier
                    if not identified:
                        return "answers with the identifier of another question"
                elif kind == _AUTHENTICATOR and identified:
                    self.cookies = tuple(self._open(data[:start], body))
                    self.answered = True
                    return ""
        except (ValueError, struct.error):
            return "answers whose extension fields cannot be read"
        except InvalidTag:
            return "answers whose authenticator does not fit: they were changed on the way, or made by another"
        if identified and data[1] == 0 and data[12:16] == _NAK:
            if not self.refused:
                self.refused = True
                self.until = time.monotonic() + _AFTER_NAK_SECONDS
            return "answers that the cookie is not known (NTS NAK)"
        return "answers that are not authenticated"

    def _open(self, before: bytes, body: bytes) -> Iterator[bytes]:
        """Yield the cookies in an authenticator; raises InvalidTag when it does not fit what stands before it."""
        nonce_octets, sealed_octets = _HEAD.unpack_from(body)
        sealed_at = _HEAD.size + _padded(nonce_octets)
        nonce = body[_HEAD.size : _HEAD.size + nonce_octets]
        sealed = body[sealed_at : sealed_at + sealed_octets]
        if not nonce or len(nonce) != nonce_octets or len(sealed) != sealed_octets or sealed_octets < _TAG_OCTETS:
            raise ValueError("it is cut off")
        content = self._to_client.decrypt(sealed, [before, nonce])
        for _, kind, field in _fields(content, 0):
            if kind == _COOKIE and 0 < len(field) <= MAX_COOKIE_OCTETS:
                yield field


def _field(kind: int, body: bytes) -> bytes:
    padding = _padded(len(body)) - len(body)
    return _HEAD.pack(kind, _HEAD.size + len(body) + padding) + body + bytes(padding)


def _padded(octets: int) -> int:
    return -(-octets // 4) * 4


def _fields(data: bytes, place: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield the extension fields from `place` on: where each begins, its kind and its body (RFC 7822)."""
    while place < len(data):
        kind, size = _HEAD.unpack_from(data, place)
        if size < _HEAD.size or size % 4 or place + size > len(data):
            raise ValueError("a field of a wrong length")
        yield place, kind, data[place + _HEAD.size : place + size]
        place += size
