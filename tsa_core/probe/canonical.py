"""Says where bytes are not DER (X.690 10, 11): our reader of CMS forgives much, and some clients forgive nothing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Final

from tsa_core.protocol import der
from tsa_core.protocol.errors import EncodingError

MAX_DEPTH: Final = 40
MAX_VALUES: Final = 20_000
"""More than any reply has: one with a whole ML-DSA chain has a few hundred."""
_BIT_STRING: Final = 0x03
_CONSTRUCTED: Final = 0x20
_STRINGS: Final = frozenset({0x23, 0x24, 0x2C, 0x33, 0x36, 0x37, 0x38})
"""Strings and times in pieces, which DER forbids."""


def first_fault(data: bytes, skipped: frozenset[bytes] = frozenset()) -> str:
    """Return the first thing in `data` that DER does not allow, empty when there is none.

    `skipped` are values that are not looked into: certificates, which others have encoded. SETs under a context tag
    are not known as such here.
    """
    try:
        end = der.read(data, 0, len(data))[2]
        if end != len(data):
            return f"{len(data) - end} bytes follow the value"
        return next(_faults(data, 0, len(data), skipped, depth=0, numbers=count(1)), "")
    except EncodingError as error:
        return str(error)


def is_sorted(values: tuple[bytes, ...]) -> bool:
    """Say whether the values of a SET OF stand in DER order (X.690 11.6)."""
    return list(values) == sorted(values)


def _faults(
    data: bytes, offset: int, end: int, skipped: frozenset[bytes], *, depth: int, numbers: Iterator[int]
) -> Iterator[str]:
    if depth > MAX_DEPTH:
        yield f"values are nested more than {MAX_DEPTH} deep"
        return
    place = offset
    while place < end:
        if next(numbers) > MAX_VALUES:
            yield f"there are more than {MAX_VALUES} values"
            return
        tag, start, stop = der.read(data, place, end)
        content = data[start:stop]
        if problem := _fault(tag, content):
            yield f"at byte {place}: {problem}"
        whole = data[place:stop]
        if tag & _CONSTRUCTED and whole not in skipped:
            yield from _faults(data, start, stop, skipped, depth=depth + 1, numbers=numbers)
            if tag == der.SET and not is_sorted(_members(data, start, stop)):
                yield f"at byte {place}: a SET OF is not in DER order"
        place = stop


def _members(data: bytes, start: int, stop: int) -> tuple[bytes, ...]:
    found = []
    while start < stop:
        after = der.read(data, start, stop)[2]
        found.append(data[start:after])
        start = after
    return tuple(found)


def _fault(tag: int, content: bytes) -> str:
    if tag == der.BOOLEAN and content not in {b"\x00", b"\xff"}:
        return "a BOOLEAN is neither 00 nor FF"
    if tag == der.INTEGER:
        long = len(content) > 1 and content[0] in {0x00, 0xFF} and (content[0] ^ content[1]) < 0x80
        if not content or long:
            return "an INTEGER is empty or not in its shortest form"
    if tag == _BIT_STRING:
        unused = content[0] if content else 8
        if unused > 7 or (unused and (len(content) == 1 or content[-1] & ((1 << unused) - 1))):
            return "a BIT STRING has unused bits that are not zero"
    if tag in _STRINGS:
        return "a string is in pieces"
    return ""
