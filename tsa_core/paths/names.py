"""Distinguished names as RFC 5280 7.1 compares them, and the general names of extensions (RFC 5280 4.2.1.6)."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from tsa_core.protocol import der
from tsa_core.protocol.errors import EncodingError

CanonicalName: TypeAlias = tuple[frozenset[tuple[bytes, str | bytes]], ...]
"""RDNs in their order; each is a set of attribute types, encoded, with values that compare as RFC 5280 7.1 says."""

OTHER_NAME: Final = 0
RFC822_NAME: Final = 1
DNS_NAME: Final = 2
X400_ADDRESS: Final = 3
DIRECTORY_NAME: Final = 4
EDI_PARTY_NAME: Final = 5
URI: Final = 6
IP_ADDRESS: Final = 7
REGISTERED_ID: Final = 8
FORMS: Final = (
    "otherName",
    "rfc822Name",
    "dNSName",
    "x400Address",
    "directoryName",
    "ediPartyName",
    "uniformResourceIdentifier",
    "iPAddress",
    "registeredID",
)
"""What RFC 5280 calls the forms of a GeneralName, by the number of their tag."""
_CONSTRUCTED: Final = frozenset({OTHER_NAME, X400_ADDRESS, DIRECTORY_NAME, EDI_PARTY_NAME})
"""The forms that hold further values; the others are strings."""

_EMAIL_ADDRESS: Final = der.oid("1.2.840.113549.1.9.1")
_ENCODINGS: Final = {
    0x0C: "utf-8",  # UTF8String
    0x12: "ascii",  # NumericString
    0x13: "ascii",  # PrintableString
    0x14: "latin-1",  # TeletexString, as everybody writes it
    0x16: "ascii",  # IA5String
    0x1A: "ascii",  # VisibleString
    0x1C: "utf-32-be",  # UniversalString
    0x1E: "utf-16-be",  # BMPString
}
"""The string types that compare by their characters; any other value compares by its bytes."""


class GeneralName(NamedTuple):
    """One GeneralName: its form, the number of its tag, and the content inside the tag."""

    form: int
    value: bytes

    def __str__(self) -> str:
        shown = self.value.decode("ascii", "replace") if self.form in {RFC822_NAME, DNS_NAME, URI} else ""
        return f"{FORMS[self.form]} {shown}".rstrip()


def elements(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (tag, offset of the header, start, end) of the values between two offsets; raises EncodingError."""
    while start < end:
        tag, content, after = der.read(data, start, end)
        yield tag, start, content, after
        start = after


def contents(data: bytes, tag: int, what: str) -> tuple[int, int]:
    """Return where the content of the one value in `data` lies; raises EncodingError for another tag."""
    found, start, end = der.read(data, 0, len(data))
    if found != tag or end != len(data):
        raise EncodingError(f"{what} is not a value of tag {tag:#04x}")
    return start, end


@lru_cache(maxsize=512)
def canonical_name(encoded: bytes) -> CanonicalName:
    """Return a Name in the form in which equal names are equal (RFC 5280 7.1); raises EncodingError."""
    return tuple(map(_canonical_rdn, _attributes(encoded)))


def _canonical_rdn(attributes: list[tuple[bytes, int, bytes]]) -> frozenset[tuple[bytes, str | bytes]]:
    found = frozenset((attribute, _canonical_value(tag, value)) for attribute, tag, value in attributes)
    if len(found) != len(attributes):
        # RDNs are equal only with as many attributes (RFC 5280 7.1), and a set would count this one once.
        raise EncodingError("a relative distinguished name has the same attribute twice")
    return found


def comparable_name(encoded: bytes) -> CanonicalName:
    """Return a Name in the form in which equal names are equal; one that cannot be read equals its own bytes only."""
    try:
        return canonical_name(encoded)
    except EncodingError:
        return (frozenset({(b"", encoded)}),)


def email_addresses(name: bytes) -> list[GeneralName]:
    """Return the emailAddress attributes of a Name as rfc822Names (RFC 5280 4.2.1.10)."""
    return [
        GeneralName(RFC822_NAME, value)
        for rdn in _attributes(name)
        for attribute, _, value in rdn
        if attribute == _EMAIL_ADDRESS
    ]


def attribute_texts(name: bytes) -> list[list[tuple[bytes, str]]]:
    """Return the RDNs of a Name: for each attribute its type, encoded, and its value as text.

    A value that is no string of its type is `#` and its octets in hexadecimal. Raises EncodingError.
    """
    return [[(attribute, _text(tag, value)) for attribute, tag, value in rdn] for rdn in _attributes(name)]


def _text(tag: int, value: bytes) -> str:
    try:
        return value.decode(_ENCODINGS[tag])
    except (KeyError, UnicodeDecodeError):
        return f"#{value.hex()}"


def general_names(encoded: bytes) -> list[GeneralName]:
    """Return the names of a GeneralNames SEQUENCE; raises EncodingError."""
    start, end = contents(encoded, der.SEQUENCE, "a list of names")
    return [general_name(encoded[offset:after]) for _, offset, _, after in elements(encoded, start, end)]


def general_name(encoded: bytes) -> GeneralName:
    """Return one GeneralName; raises EncodingError."""
    tag, start, end = der.read(encoded, 0, len(encoded))
    form = tag & 0x1F
    constructed = bool(tag & 0x20)
    if tag & 0xC0 != 0x80 or form >= len(FORMS) or end != len(encoded) or constructed != (form in _CONSTRUCTED):
        raise EncodingError(f"a name has the unknown form {tag:#04x}")
    return GeneralName(form, encoded[start:end])


def _attributes(name: bytes) -> Iterator[list[tuple[bytes, int, bytes]]]:
    """Yield, for each RDN of a Name, its attributes: type encoded, tag of the value, content of the value."""
    start, end = contents(name, der.SEQUENCE, "a name")
    for set_tag, _, rdn_start, rdn_end in elements(name, start, end):
        if set_tag != der.SET:
            raise EncodingError("a relative distinguished name is not a SET")
        rdn = []
        for tag, _, first, last in elements(name, rdn_start, rdn_end):
            type_tag, _, type_end = der.read(name, first, last)
            value_tag, value, value_end = der.read(name, type_end, last)
            if tag != der.SEQUENCE or type_tag != der.OBJECT_IDENTIFIER or value_end != last:
                raise EncodingError("an attribute of a name is not a type and a value")
            rdn.append((name[first:type_end], value_tag, name[value:value_end]))
        yield rdn


def _canonical_value(tag: int, content: bytes) -> str | bytes:
    encoding = _ENCODINGS.get(tag)
    if encoding is not None:
        try:
            return _prepared(content.decode(encoding))
        except UnicodeDecodeError:
            pass  # a string that breaks its own type's rules equals its own bytes only
    return bytes((tag,)) + content


def _prepared(text: str) -> str:
    """Return a string as caseIgnoreMatch compares it (RFC 4518 2): mapped, folded, normalised, spaces squeezed."""
    if text.isascii() and text.isprintable():
        return " ".join(text.lower().split())
    mapped = "".join(_mapped(character) for character in text)
    return " ".join(unicodedata.normalize("NFKC", mapped.casefold()).split())


def _mapped(character: str) -> str:
    """Return what a character is mapped to (RFC 4518 2.2): a space for white space, nothing for what is not seen."""
    if character in "\t\n\v\f\r\x85" or unicodedata.category(character) in {"Zs", "Zl", "Zp"}:
        return " "
    return "" if unicodedata.category(character) in {"Cc", "Cf"} or character in _IGNORED else character


_IGNORED: Final = "\u034f\u1806\u180b\u180c\u180d\ufffc" + "".join(map(chr, range(0xFE00, 0xFE10)))
"""Combining grapheme joiner, Mongolian selectors, object replacement, variation selectors (RFC 4518 2.2)."""
