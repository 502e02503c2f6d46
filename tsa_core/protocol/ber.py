"""Converts BER to definite lengths.

CMS permits BER (RFC 5652 2), and some authorities send indefinite lengths or an eContent in pieces. This module
returns the same values with minimal definite lengths and primitive OCTET STRINGs, so that one strict reader is enough.
It reorders nothing: a signature covers values in the order in which they were sent.
"""

from __future__ import annotations

from typing import Final

from tsa_core.protocol import der
from tsa_core.protocol.errors import EncodingError

MAX_DEPTH: Final = 32
"""Levels of nesting; a token with certificates has 15."""
MAX_VALUES: Final = 1 << 20
"""Values in one input: each is an object in memory, and a megabyte holds half as many at most."""

_CONSTRUCTED: Final = 0x20
_CONSTRUCTED_OCTET_STRING: Final = der.OCTET_STRING | _CONSTRUCTED


def definite(data: bytes) -> bytes:
    """Return the one BER value in `data` with minimal definite lengths and primitive OCTET STRINGs.

    Raises EncodingError for anything else than exactly one value, for more than MAX_DEPTH levels and for more than
    MAX_VALUES values.
    """
    value, offset = _value(data, 0, len(data), 1, [MAX_VALUES])
    if offset != len(data):
        raise EncodingError(f"{len(data) - offset} bytes follow the value")
    return value


def _value(data: bytes, offset: int, end: int, depth: int, budget: list[int]) -> tuple[bytes, int]:
    """Return the value at `offset`, re-encoded, and the offset after it."""
    if depth > MAX_DEPTH:
        raise EncodingError(f"the data is nested more than {MAX_DEPTH} levels deep")
    budget[0] -= 1
    if budget[0] < 0:
        raise EncodingError(f"the data holds more than {MAX_VALUES} values")
    if offset + 2 > end:
        raise EncodingError(f"the data ends at byte {end}, where a value should begin")
    tag = data[offset]
    if tag & 0x1F == 0x1F:
        raise EncodingError(f"the value at byte {offset} has a multi-byte tag")
    if data[offset + 1] == 0x80:
        if not tag & _CONSTRUCTED:
            raise EncodingError(f"the primitive value at byte {offset} has an indefinite length")
        return _constructed(data, tag, offset + 2, end, depth, budget=budget, indefinite=True)
    start, stop = _definite_length(data, offset, end)
    if tag & _CONSTRUCTED:
        return _constructed(data, tag, start, stop, depth, budget=budget, indefinite=False)
    return der.tlv(tag, data[start:stop]), stop


def _definite_length(data: bytes, offset: int, end: int) -> tuple[int, int]:
    size = data[offset + 1]
    start = offset + 2
    if size > 0x80:
        count = size & 0x7F
        if count > 8 or start + count > end:
            raise EncodingError(f"the value at byte {offset} claims an impossible length")
        size = int.from_bytes(data[start : start + count], "big")
        start += count
    if start + size > end:
        raise EncodingError(f"the value at byte {offset} is longer than the data that holds it")
    return start, start + size


def _constructed(
    data: bytes, tag: int, offset: int, end: int, depth: int, *, budget: list[int], indefinite: bool
) -> tuple[bytes, int]:
    parts: list[bytes] = []
    while offset < end:
        if indefinite and data[offset : offset + 2] == b"\x00\x00":
            break
        part, offset = _value(data, offset, end, depth + 1, budget)
        parts.append(part)
    else:
        if indefinite:
            raise EncodingError("a value of indefinite length has no end")
    if indefinite:
        offset += 2
    if tag == _CONSTRUCTED_OCTET_STRING:
        return der.octet_string(b"".join(map(_octets, parts))), offset
    return der.tlv(tag, b"".join(parts)), offset


def _octets(part: bytes) -> bytes:
    tag, start, _ = der.read(part, 0, len(part))
    if tag != der.OCTET_STRING:
        raise EncodingError("an OCTET STRING in pieces holds something else than OCTET STRINGs")
    return part[start:]
