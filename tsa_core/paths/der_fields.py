"""The fields of a SEQUENCE one after the other, and the few types that CRLs, OCSP responses and extensions are made of.

Strict DER, on purpose: what these readers refuse proves nothing, and is never read in two ways.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, NamedTuple

from tsa_core.protocol import der
from tsa_core.protocol.errors import EncodingError

_ENUMERATED: Final = 0x0A
_MAX_EXTENSIONS: Final = 64


class Extension(NamedTuple):
    """An extension's criticality, and what its extnValue holds."""

    critical: bool
    value: bytes


Extensions = dict[str, Extension]
"""Extensions by their dotted identifiers."""


class Fields:
    """Reads the values between two offsets in order; every method raises EncodingError for anything unexpected."""

    __slots__ = ("data", "end", "position")

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self.data = data
        self.position = start
        self.end = end

    @classmethod
    def of_sequence(cls, data: bytes, what: str) -> Fields:
        """Return the fields of the one SEQUENCE that fills `data`."""
        fields = cls(data, 0, len(data)).enter(der.SEQUENCE, what)
        if fields.end != len(data):
            raise EncodingError(f"bytes follow after {what}")
        return fields

    @property
    def tag(self) -> int:
        """The next value's tag, -1 at the end."""
        return self.data[self.position] if self.position < self.end else -1

    def enter(self, tag: int, what: str) -> Fields:
        """Step over the next value, which must have this tag, and return the fields inside it."""
        found, start, stop = der.read(self.data, self.position, self.end)
        if found != tag:
            raise EncodingError(f"{what} has the tag {found:#04x} instead of {tag:#04x}")
        self.position = stop
        return Fields(self.data, start, stop)

    def content(self, tag: int, what: str) -> bytes:
        """Step over the next value, which must have this tag, and return its content."""
        inner = self.enter(tag, what)
        return self.data[inner.position : inner.end]

    def whole(self, tag: int, what: str) -> bytes:
        """Step over the next value, which must have this tag, and return it with its header."""
        start = self.position
        self.enter(tag, what)
        return self.data[start : self.position]

    def any_whole(self) -> bytes:
        """Step over the next value, whatever it is, and return it with its header."""
        start = self.position
        self.position = der.read(self.data, start, self.end)[2]
        return self.data[start : self.position]

    def dotted(self, what: str) -> str:
        """Step over an OBJECT IDENTIFIER and return its dotted form."""
        whole = self.whole(der.OBJECT_IDENTIFIER, what)
        der.check_oid(whole[der.read(whole, 0, len(whole))[1] :])
        return der.dotted(whole)

    def enumerated(self, what: str) -> int:
        """Step over an ENUMERATED of one octet and return its number."""
        return _small(self.content(_ENUMERATED, what), what)

    def time(self, what: str) -> datetime:
        """Step over a Time (RFC 5280 4.1.2.5) and return it, aware."""
        if self.tag not in {der.UTC_TIME, der.GENERALIZED_TIME}:
            raise EncodingError(f"{what} is not a time")
        return read_time(self.tag, self.content(self.tag, what), what)

    def bit_string(self, what: str, tag: int = der.BIT_STRING) -> bytes:
        """Step over a BIT STRING that fills its octets, and return them."""
        bits = self.content(tag, what)
        if not bits or bits[0]:
            raise EncodingError(f"{what} does not fill its octets")
        return bits[1:]

    def finish(self, what: str) -> None:
        """Raise EncodingError unless every field has been read."""
        if self.position != self.end:
            raise EncodingError(f"{what} has a part that it must not have, with the tag {self.tag:#04x}")


def _small(content: bytes, what: str) -> int:
    if len(content) != 1 or content[0] & 0x80:
        raise EncodingError(f"{what} is out of range")
    return content[0]


def read_time(tag: int, content: bytes, what: str) -> datetime:
    """Return a UTCTime or GeneralizedTime as RFC 5280 4.1.2.5 has them: to the second, in UTC."""
    digits = content[:-1]
    if not digits.isdigit() or content[-1:] != b"Z" or len(digits) != (12 if tag == der.UTC_TIME else 14):
        raise EncodingError(f"{what} is not written as times in certificates are")
    if tag == der.UTC_TIME:
        digits = (b"19" if digits[:2] >= b"50" else b"20") + digits
    try:
        return datetime(
            int(digits[:4]),
            int(digits[4:6]),
            int(digits[6:8]),
            int(digits[8:10]),
            int(digits[10:12]),
            int(digits[12:14]),
            tzinfo=UTC,
        )
    except ValueError:
        raise EncodingError(f"{what} is not a time that exists") from None


def read_generalized_time(value: bytes, what: str) -> datetime:
    """Return the GeneralizedTime that fills `value`."""
    fields = Fields(value, 0, len(value))
    content = fields.content(der.GENERALIZED_TIME, what)
    fields.finish(what)
    return read_time(der.GENERALIZED_TIME, content, what)


def read_integer(value: bytes, what: str) -> int:
    """Return the INTEGER of at most 64 octets that fills `value`."""
    fields = Fields(value, 0, len(value))
    content = fields.content(der.INTEGER, what)
    fields.finish(what)
    if not 0 < len(content) <= 64:
        raise EncodingError(f"{what} is out of range")
    return int.from_bytes(content, "big", signed=True)


def read_boolean(content: bytes, what: str, *, lenient: bool = False) -> bool:
    """Return a BOOLEAN by its content; `lenient` takes any octet but zero for TRUE, as BER does."""
    if len(content) != 1 or not (lenient or content in b"\x00\xff"):
        raise EncodingError(f"{what} is neither TRUE nor FALSE")
    return content != b"\x00"


def read_extension_list(fields: Fields, what: str, *, lenient: bool = False) -> Extensions:
    """Return the extensions whose SEQUENCE comes next; one that appears twice is an error (RFC 5280 4.2).

    `lenient` reads criticality as BER has it, FALSE written out and any TRUE, which real certificates have.
    """
    outer = fields.enter(der.SEQUENCE, f"the extensions of {what}")
    extensions: Extensions = {}
    while outer.tag != -1:
        one = outer.enter(der.SEQUENCE, f"an extension of {what}")
        oid = one.dotted(f"an extension of {what}")
        critical = False
        if one.tag == der.BOOLEAN:
            content = one.content(der.BOOLEAN, "critical")
            critical = read_boolean(content, f"the criticality of {oid} in {what}", lenient=lenient)
        value = one.content(der.OCTET_STRING, f"the extension {oid} of {what}")
        one.finish(f"the extension {oid} of {what}")
        if oid in extensions:
            raise EncodingError(f"the extension {oid} of {what} appears twice")
        if len(extensions) == _MAX_EXTENSIONS:
            raise EncodingError(f"{what} has more than {_MAX_EXTENSIONS} extensions")
        extensions[oid] = Extension(critical, value)
    return extensions
