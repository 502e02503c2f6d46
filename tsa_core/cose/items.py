"""Where CBOR items begin and end (RFC 8949 3), because RFC 9921 hashes fields as they are encoded.

cbor2 reads what the items mean; this module only walks over them, without recursion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tsa_core.cose.errors import CoseError, ExtraMissing

if TYPE_CHECKING:
    from types import ModuleType

MAX_ITEMS: Final = 1 << 18
"""Items that one walk passes; a COSE message has a few dozen."""
MAX_DEPTH: Final = 32
UNSIGNED, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE = range(8)
_INDEFINITE: Final = 31
_BREAK: Final = 0xFF


def cbor2() -> ModuleType:
    """Return the package cbor2; raises ExtraMissing."""
    try:
        import cbor2 as module
    except ImportError:
        raise ExtraMissing(package="cbor2", extra="cose", purpose="reading COSE and CBOR") from None
    return module


def decode(data: bytes) -> Any:
    """Return what one item means; raises CoseError. Its size was bounded by whoever walked over it."""
    module = cbor2()
    try:
        return module.loads(data, max_depth=MAX_DEPTH)
    except (module.CBORDecodeError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise CoseError(f"the CBOR cannot be read: {str(error)[:120]}") from None


def encode(value: Any) -> bytes:
    """Return the shortest encoding of a value."""
    return bytes(cbor2().dumps(value))


def head(major: int, argument: int) -> bytes:
    """Return the shortest head of an item (RFC 8949 4.2.1)."""
    if argument < 24:
        return bytes((major << 5 | argument,))
    for code, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << 8 * size:
            return bytes((major << 5 | code,)) + argument.to_bytes(size, "big")
    raise CoseError("a length is larger than CBOR can say")


def read_head(data: bytes, offset: int) -> tuple[int, int | None, int]:
    """Return major type, argument (None when indefinite) and the offset behind the head; raises CoseError."""
    if offset >= len(data):
        raise CoseError(f"the CBOR ends at byte {len(data)}, in the middle of an item")
    first = data[offset]
    major, info = first >> 5, first & 0x1F
    offset += 1
    if info < 24:
        return major, info, offset
    if info == _INDEFINITE and major in {BYTES, TEXT, ARRAY, MAP}:
        return major, None, offset
    if info > 27:
        raise CoseError(f"the byte {first:#04x} at {offset - 1} begins no CBOR item")
    size = 1 << (info - 24)
    if offset + size > len(data):
        raise CoseError(f"the CBOR ends at byte {len(data)}, in the middle of an item")
    return major, int.from_bytes(data[offset : offset + size], "big"), offset + size


def end_of(data: bytes, offset: int) -> int:
    """Return the offset behind the item at `offset`; raises CoseError for what is not well-formed or has no bound."""
    open_items: list[int | None] = [1]  # how many items each level still holds; None until a break
    for _ in range(MAX_ITEMS):
        if open_items[-1] is None and offset < len(data) and data[offset] == _BREAK:
            offset += 1
            open_items.pop()
        else:
            major, argument, offset = read_head(data, offset)
            remaining = open_items[-1]
            if remaining is not None:
                open_items[-1] = remaining - 1
            offset = _enter(data, offset, major, argument, open_items)
        while open_items and open_items[-1] == 0:
            open_items.pop()
        if not open_items:
            return offset
        if len(open_items) > MAX_DEPTH:
            raise CoseError(f"the CBOR is nested more than {MAX_DEPTH} levels deep")
    raise CoseError(f"the CBOR holds more than {MAX_ITEMS} items")


def _enter(data: bytes, offset: int, major: int, argument: int | None, open_items: list[int | None]) -> int:
    """Pass the content of a string, or open the level of a container; return the offset to go on at."""
    if argument is None:
        open_items.append(None)
    elif major in {BYTES, TEXT}:
        if argument > len(data) - offset:
            raise CoseError(f"a string at byte {offset} is longer than the data that hold it")
        offset += argument
    elif major in {ARRAY, MAP}:
        open_items.append(argument * (2 if major == MAP else 1))
    elif major == TAG:
        open_items.append(1)
    return offset


def items_of(data: bytes, major: int, what: str, *, most: int) -> list[bytes]:
    """Return the encoded items in an array, or the keys and values in turn of a map; raises CoseError."""
    found, count, offset = read_head(data, 0)
    if found != major:
        raise CoseError(f"{what} is no {'map' if major == MAP else 'array'}")
    items: list[bytes] = []
    expected = None if count is None else count * (2 if major == MAP else 1)
    while expected is None or len(items) < expected:
        if expected is None and data[offset : offset + 1] == bytes((_BREAK,)):
            offset += 1
            break
        if len(items) == most:
            raise CoseError(f"{what} has more than {most} items")
        end = end_of(data, offset)
        items.append(data[offset:end])
        offset = end
    if offset != len(data):
        raise CoseError(f"{len(data) - offset} bytes follow {what}")
    if major == MAP and len(items) % 2:
        raise CoseError(f"{what} has a key without a value")
    return items
