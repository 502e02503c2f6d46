"""JSON that knows where each of its values stands, so that an error can name the line."""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn, TypeAlias

_MAX_DEPTH: Final = 16
_DECODER: Final = json.JSONDecoder()
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d{0,17})(?![\d.eE])")
_WORDS: Final = {"true": True, "false": False, "null": None}

Place: TypeAlias = tuple[str | int, ...]
"""The way to a value: names in lower case, and numbers from 0."""


class JsonError(ValueError):
    """Text that is no JSON of the kind that is read here, from `offset` on."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


def parse_json(text: str) -> tuple[Any, dict[Place, int]]:
    """Return the value, and the offset of each value in it by its place; raises JsonError.

    Numbers are whole and have 18 digits at most. A name that stands twice in an object is an error, in upper or lower
    case, because Go's readers tell no difference.
    """
    reader = _Reader(text)
    value = reader.value((), 0)
    if reader.skip() != len(text):
        reader.fail("there is more behind the end")
    return value, reader.places


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self.places: dict[Place, int] = {}

    def skip(self) -> int:
        found = _SPACE.match(self._text, self._at)
        assert found is not None  # noqa: S101 - it matches nothing, too
        self._at = found.end()
        return self._at

    def fail(self, message: str) -> NoReturn:
        raise JsonError(message, self._at)

    def value(self, place: Place, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            self.fail(f"more than {_MAX_DEPTH} objects and arrays in one another")
        self.places[place] = start = self.skip()
        first = self._text[start : start + 1]
        if first == "{":
            return self._object(place, depth)
        if first == "[":
            return self._array(place, depth)
        if first == '"':
            return self._string()
        if found := _NUMBER.match(self._text, start):
            self._at = found.end()
            return int(found[0])
        for word, value in _WORDS.items():
            if self._text.startswith(word, start):
                self._at += len(word)
                return value
        return self.fail(f"a value was expected, not {first!r}" if first else "the end is missing")

    def _string(self) -> str:
        try:
            text, self._at = _DECODER.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            raise JsonError(f"a string that cannot be read: {error.msg}", error.pos) from None
        return str(text)

    def _object(self, place: Place, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        names: set[str] = set()
        while self._next("}", first=not values):
            if self._text[self.skip() : self._at + 1] != '"':
                self.fail("a name in quotation marks is missing")
            start = self._at
            name = self._string()
            if name.lower() in names:
                raise JsonError(f"{name} stands twice", start)
            names.add(name.lower())
            if self._text[self.skip() : self._at + 1] != ":":
                self.fail(f"the colon after {name} is missing")
            self._at += 1
            values[name] = self.value((*place, name.lower()), depth + 1)
            self.places[(*place, name.lower())] = start
        return values

    def _array(self, place: Place, depth: int) -> list[Any]:
        values: list[Any] = []
        while self._next("]", first=not values):
            values.append(self.value((*place, len(values)), depth + 1))
        return values

    def _next(self, closing: str, *, first: bool) -> bool:
        """Go to the next member of an object or array; false behind the last one."""
        mark = self._text[self.skip() : self._at + 1]
        if first:
            self._at += 1
            mark = self._text[self.skip() : self._at + 1]
            if mark != closing:
                return True
        elif mark == ",":
            self._at += 1
            return True
        if mark != closing:
            self.fail(f"a comma or {closing} is missing")
        self._at += 1
        return False
