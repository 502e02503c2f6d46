"""The part of DER that issuing needs: encoders of single values, and a strict reader.

The encoders are used at start, to build a template; for a request, the encoded parts are joined. The reader is strict
because DER has one encoding of each value, and a token repeats octets of the request under its signature (X.690
chapters 8 and 10).
"""

from __future__ import annotations

from tsa_core.protocol.errors import EncodingError

BOOLEAN = 0x01
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
NULL = 0x05
OBJECT_IDENTIFIER = 0x06
UTF8_STRING = 0x0C
UTC_TIME = 0x17
GENERALIZED_TIME = 0x18
SEQUENCE = 0x30
SET = 0x31

MAX_OID_ARCS = 128
"""More arcs than any real identifier has; to split an unbounded one costs memory (CVE-2025-66564)."""
_MAX_ARC_OCTETS = 19
"""133 bits: identifiers made of a UUID have one component of 128."""


def length(size: int) -> bytes:
    """Return the minimal definite-length octets for a content of `size` bytes."""
    if size < 0x80:
        return bytes((size,))
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(octets),)) + octets


def tlv(tag: int, content: bytes) -> bytes:
    """Return one value: tag, length and content."""
    return bytes((tag,)) + length(len(content)) + content


def sequence(*parts: bytes) -> bytes:
    """Return a SEQUENCE of encoded values, in the order given."""
    return tlv(SEQUENCE, b"".join(parts))


def set_of(*parts: bytes) -> bytes:
    """Return a SET OF encoded values in DER order (X.690 11.6)."""
    return tlv(SET, b"".join(sorted(parts)))


def explicit(number: int, content: bytes) -> bytes:
    """Return `content` inside the constructed context tag `number`."""
    return tlv(0xA0 | number, content)


def octet_string(content: bytes) -> bytes:
    """Return an OCTET STRING."""
    return tlv(OCTET_STRING, content)


def null() -> bytes:
    """Return NULL."""
    return b"\x05\x00"


def integer(value: int) -> bytes:
    """Return an INTEGER in the fewest octets of two's complement."""
    size = (value + (value < 0)).bit_length() // 8 + 1
    return tlv(INTEGER, value.to_bytes(size, "big", signed=True))


def boolean(value: bool) -> bytes:
    """Return a BOOLEAN; DER writes TRUE as 0xFF."""
    return b"\x01\x01\xff" if value else b"\x01\x01\x00"


def named_bits(*bits: int) -> bytes:
    """Return a BIT STRING with named bits: trailing zero bits are not written (X.690 11.2.2)."""
    if not bits:
        return tlv(BIT_STRING, b"\x00")
    top = max(bits)
    octets = bytearray(top // 8 + 1)
    for bit in bits:
        octets[bit // 8] |= 0x80 >> bit % 8
    return tlv(BIT_STRING, bytes((7 - top % 8,)) + bytes(octets))


def oid(dotted: str) -> bytes:
    """Return an OBJECT IDENTIFIER; raises EncodingError for text that is not one."""
    parts = dotted.split(".", MAX_OID_ARCS)
    if len(parts) > MAX_OID_ARCS:
        raise EncodingError(f"an object identifier has more than {MAX_OID_ARCS} components")
    if len(parts) < 2 or not all(
        part.isascii() and part.isdigit() and len(part) <= 40 and part == str(int(part)) for part in parts
    ):
        raise EncodingError(f"{dotted[:80]!r} is not an object identifier in dotted form")
    first, second, *rest = (int(part) for part in parts)
    if first > 2 or (first < 2 and second > 39):
        raise EncodingError(f"{dotted[:80]!r} is not an object identifier: its first two numbers are out of range")
    content = bytearray()
    for arc in (first * 40 + second, *rest):
        octets = [arc & 0x7F]
        while arc := arc >> 7:
            octets.append(0x80 | arc & 0x7F)
        content += bytes(reversed(octets))
    return tlv(OBJECT_IDENTIFIER, bytes(content))


def dotted(encoded: bytes) -> str:
    """Return the dotted form of an encoded OBJECT IDENTIFIER that `check_oid` has accepted."""
    arcs: list[int] = []
    value = 0
    for octet in memoryview(encoded)[2 if encoded[1] < 0x80 else 2 + (encoded[1] & 0x7F) :]:
        value = value << 7 | octet & 0x7F
        if octet < 0x80:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def check_oid(content: bytes) -> None:
    """Raise EncodingError unless `content` is the content of a DER OBJECT IDENTIFIER of bounded length."""
    if len(content) >= MAX_OID_ARCS * _MAX_ARC_OCTETS:  # refused before the loop: a body may contain a megabyte of it
        raise EncodingError(f"an object identifier has more than {MAX_OID_ARCS} components")
    if not content or content[-1] & 0x80:
        raise EncodingError("an object identifier is empty or cut off")
    start = True
    arcs = 0
    run = 0
    for octet in content:
        if start and octet == 0x80:
            raise EncodingError("an object identifier has a component with leading zeros")
        run += 1
        start = octet < 0x80
        if start:
            arcs += 1
            run = 0
        elif run == _MAX_ARC_OCTETS:
            raise EncodingError("an object identifier has a component of more than 133 bits")
    if arcs >= MAX_OID_ARCS:
        raise EncodingError(f"an object identifier has more than {MAX_OID_ARCS} components")


def read(data: bytes, offset: int, end: int) -> tuple[int, int, int]:
    """Read one header at `offset` and return (tag, start of the content, end of the content).

    Raises EncodingError for a value that does not end by `end`, for tags above 30, for indefinite lengths
    and for lengths that are not in their shortest form. Python truncates a slice beyond the end without an error,
    so every caller relies on the check of both offsets here.
    """
    if offset + 2 > end:
        raise EncodingError(f"the data ends at byte {end}, where a value should begin")
    tag = data[offset]
    size = data[offset + 1]
    start = offset + 2
    if size >= 0x80:
        count = size & 0x7F
        if count == 0:
            raise EncodingError(f"the value at byte {offset} has an indefinite length, which DER forbids")
        if count > 4:
            raise EncodingError(f"the value at byte {offset} claims an impossible length")
        size = int.from_bytes(data[start : start + count], "big")
        start += count
        if start > end or size < 0x80 or size >> 8 * (count - 1) == 0:
            raise EncodingError(f"the value at byte {offset} has a length that is not in its shortest form")
    if tag & 0x1F == 0x1F:
        raise EncodingError(f"the value at byte {offset} has a multi-byte tag")
    stop = start + size
    if stop > end:
        raise EncodingError(f"the value at byte {offset} is longer than the data that holds it")
    return tag, start, stop
