"""The functions of certificate templates, under the names that they have in Go's templates and in smallstep's.

Values of ASN.1 go from one to the next as base64 of their DER.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from tsa_core.protocol import der
from tsa_core.protocol.errors import EncodingError

_NUMERIC_STRING, _PRINTABLE_STRING, _IA5_STRING = 0x12, 0x13, 0x16
_PRINTABLE: Final = re.compile(r"[A-Za-z0-9 '()+,\-./:=?*&]*")
_NUMERIC: Final = re.compile("[0-9 ]*")
_INTEGER: Final = re.compile(r"-?\d{1,18}")
_VERB: Final = re.compile("%[a-zA-Z%]")


class FunctionError(ValueError):
    """An argument that a function cannot take; the text says which, and what it takes."""


def truth(value: Any) -> bool:
    """Say whether Go's `if` takes a value for true: all but false, 0, nil and what is empty."""
    return bool(value)


def go_text(value: Any) -> str:
    """Return how Go prints a value."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _to_json(value) if isinstance(value, Mapping) else str(value)


def _to_json(value: Any) -> str:
    return json.dumps(_json_value(value), ensure_ascii=False)


def _json_value(value: Any) -> Any:
    """Return a value as JSON has it: a name's fields begin in lower case, and the empty ones are left out."""
    if isinstance(value, Mapping):
        return {name[:1].lower() + name[1:]: _json_value(each) for name, each in value.items() if each}
    return value


def _print(*values: Any) -> str:
    """Join values as Go does: a space stands between two that are no texts."""
    parts: list[str] = []
    for number, value in enumerate(values):
        if number and not isinstance(value, str) and not isinstance(values[number - 1], str):
            parts.append(" ")
        parts.append(go_text(value))
    return "".join(parts)


def _printf(pattern: str, *values: Any) -> str:
    rest = list(values)

    def filled(found: re.Match[str]) -> str:
        verb = found[0]
        if verb == "%%":
            return "%"
        if verb not in {"%s", "%v", "%d", "%q"}:
            raise FunctionError(f"{verb} is not supported; there are %s, %v, %d, %q and %%")
        if not rest:
            raise FunctionError(f"there is no value for {verb}")
        value = rest.pop(0)
        return _to_json(value) if verb == "%q" else go_text(value)

    text = _VERB.sub(filled, pattern)
    if rest:
        raise FunctionError("there are more values than verbs")
    return text


def _and(first: Any, *others: Any) -> Any:
    return next((value for value in (first, *others[:-1]) if not truth(value)), (first, *others)[-1])


def _or(first: Any, *others: Any) -> Any:
    return next((value for value in (first, *others[:-1]) if truth(value)), (first, *others)[-1])


def _eq(first: Any, second: Any, *others: Any) -> bool:
    return first in {second, *others}


def _fail(message: str) -> str:
    raise FunctionError(message)


def _text(function: Callable[[str], str]) -> Callable[[Any], str]:
    def of(value: Any) -> str:
        return function(go_text(value))

    return of


def _asn1_encode(text: str) -> str:
    kind, separator, value = text.partition(":")
    if not separator:
        kind, value = "printable", text
    if kind not in _ENCODERS:
        raise FunctionError(f"the type {kind!r} is not known; there are {', '.join(_ENCODERS)}")
    return _base64(_ENCODERS[kind](value))


def _string(tag: int, kind: str, allowed: re.Pattern[str]) -> Callable[[str], bytes]:
    def encode(value: str) -> bytes:
        if not allowed.fullmatch(value):
            raise FunctionError(f"{value!r} has characters that a {kind} string cannot hold")
        return der.tlv(tag, value.encode("ascii"))

    return encode


def _integer(value: str) -> bytes:
    if not _INTEGER.fullmatch(value):
        raise FunctionError(f"{value!r} is no whole number of up to 18 digits")
    return der.integer(int(value))


def _boolean(value: str) -> bytes:
    if value not in {"true", "false"}:
        raise FunctionError(f"{value!r} is neither true nor false")
    return der.boolean(value == "true")


def _oid(value: str) -> bytes:
    try:
        return der.oid(value)
    except EncodingError as error:
        raise FunctionError(str(error)) from None


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise FunctionError(f"{text[:40]!r} is no base64") from None


_ENCODERS: Final[dict[str, Callable[[str], bytes]]] = {
    "oid": _oid,
    "int": _integer,
    "bool": _boolean,
    "boolean": _boolean,
    "utf8": lambda value: der.tlv(der.UTF8_STRING, value.encode()),
    "ia5": _string(_IA5_STRING, "ia5", re.compile(r"[\x00-\x7f]*")),
    "numeric": _string(_NUMERIC_STRING, "numeric", _NUMERIC),
    "printable": _string(_PRINTABLE_STRING, "printable", _PRINTABLE),
    "raw": _decoded,
}


def _joined(tag: int) -> Callable[..., str]:
    def join(*encoded: str) -> str:
        return _base64(der.tlv(tag, b"".join(map(_decoded, encoded))))

    return join


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "and": _and,
    "asn1Enc": _asn1_encode,
    "asn1Seq": _joined(der.SEQUENCE),
    "asn1Set": _joined(der.SET),
    "default": lambda otherwise, value="": value if truth(value) else otherwise,
    "eq": _eq,
    "fail": _fail,
    "lower": _text(str.lower),
    "ne": lambda first, second: first != second,
    "not": lambda value: not truth(value),
    "or": _or,
    "print": _print,
    "printf": _printf,
    "quote": lambda *values: " ".join(_to_json(go_text(value)) for value in values),
    "toJson": _to_json,
    "trim": _text(str.strip),
    "upper": _text(str.upper),
}
