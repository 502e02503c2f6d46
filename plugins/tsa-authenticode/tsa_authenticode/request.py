"""Reads the body of a request: base64 of a DER TimeStampRequest.

TimeStampRequest ::= SEQUENCE {
   countersignatureType  OBJECT IDENTIFIER (1.3.6.1.4.1.311.3.2.1),
   attributes            Attributes OPTIONAL,           -- clients send none
   content               ContentInfo }                  -- data, the value of the signature as an OCTET STRING

The structure is in Microsoft's "Time Stamping Authenticode Signatures".
"""

from __future__ import annotations

import binascii
from typing import Final

from tsa_core.api.der import OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, SET, EncodingError, dotted, oid, read

MIN_VALUE: Final = 32
MAX_VALUE: Final = 2048
"""Octets of a signature's value: a small elliptic curve's to that of RSA with 16,384 bits."""
_TYPE: Final = oid("1.3.6.1.4.1.311.3.2.1")
_DATA: Final = oid("1.2.840.113549.1.7.1")
_EXPLICIT_0: Final = 0xA0
_VERSION_1: Final = b"\x02\x01\x01"
_WHITESPACE: Final = b" \t\r\n"


class MalformedRequest(Exception):
    """The body is no request of this protocol; the text says why, for the client."""


class OtherProtocol(MalformedRequest):
    """The body is an RFC 3161 request."""


def read_request(body: bytes) -> bytes:
    """Return the value of the signature to countersign; raises MalformedRequest.

    White space may stand anywhere in the base64, and a NUL at its end.
    """
    if _is_rfc3161(body):
        raise OtherProtocol("the body is an RFC 3161 request")
    text = body.removesuffix(b"\x00").translate(None, _WHITESPACE)
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error as error:
        raise MalformedRequest(f"the body is not base64: {str(error).lower()}") from None
    if _is_rfc3161(data):
        raise OtherProtocol("the body is an RFC 3161 request in base64")
    try:
        value = _read(data)
    except EncodingError as error:
        raise MalformedRequest(f"the body is not a DER TimeStampRequest of Authenticode: {error}") from None
    if not MIN_VALUE <= len(value) <= MAX_VALUE:
        raise MalformedRequest(
            f"the content has {len(value)} bytes; the value of a signature has {MIN_VALUE} to {MAX_VALUE}"
        )
    return value


def _is_rfc3161(data: bytes) -> bool:
    """Say whether data begin as a TimeStampReq does: a SEQUENCE with the version 1."""
    return data[:1] == b"\x30" and _VERSION_1 in data[2:7]


def _read(data: bytes) -> bytes:
    start, end = _inside(data, 0, len(data), SEQUENCE)
    if end != len(data):
        raise EncodingError(f"{len(data) - end} bytes follow it")
    _, stop = _inside(data, start, end, OBJECT_IDENTIFIER)
    _check_type(data[start:stop], _TYPE, "countersignatureType")
    if data[stop : stop + 1] == bytes((SET,)):  # the attributes, of which the countersignature says nothing
        _, stop = _inside(data, stop, end, SET)
    start, last = _inside(data, stop, end, SEQUENCE)
    _end(last, end)
    _, stop = _inside(data, start, last, OBJECT_IDENTIFIER)
    _check_type(data[start:stop], _DATA, "contentType")
    start, stop = _inside(data, stop, last, _EXPLICIT_0)
    _end(stop, last)
    first, last = _inside(data, start, stop, OCTET_STRING)
    _end(last, stop)
    return data[first:last]


def _inside(data: bytes, offset: int, end: int, expected: int) -> tuple[int, int]:
    """Return where the content of a value begins and ends."""
    tag, start, stop = read(data, offset, end)
    if tag != expected:
        raise EncodingError(f"the value at byte {offset} has the tag {tag:#04x}, not {expected:#04x}")
    return start, stop


def _end(stop: int, end: int) -> None:
    if stop != end:
        raise EncodingError(f"a value follows at byte {stop}, where none may")


def _check_type(encoded: bytes, expected: bytes, name: str) -> None:
    if encoded != expected:
        raise EncodingError(f"the {name} is not {dotted(expected)}")
