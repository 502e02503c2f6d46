"""The part of Go's text/template that certificate templates are written in: values, functions, pipelines, `if`.

What an action yields inside a JSON string is escaped for it. Go inserts it as it is, and a common name with a quotation
mark then adds fields of its own to a certificate.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from tsa_core.api import ConfigError, one_line
from tsa_core.certs.maker.go_expressions import MAX_DEPTH, ExpressionError, Token, evaluate, tokens_of
from tsa_core.certs.maker.template_functions import go_text, truth

_KEYWORDS: Final = frozenset({"range", "with", "define", "template", "block", "break", "continue"})
_IF, _ELSE, _END = ("word", "if"), ("word", "else"), ("word", "end")
_INSIDE_ACTION: Final = re.compile(r'(?:"(?:[^"\\\n]|\\.)*"|`[^`]*`|(?!}})[^"`])*')
_QUOTES: Final = re.compile(r'\\.|"', re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """What a template became, and from which of its places each part came."""

    text: str
    source: str
    starts: Sequence[int]
    offsets: Sequence[int]

    def line_of(self, offset: int) -> int:
        """Return the line in the template, from 1, that the character at `offset` came from."""
        if not self.starts:
            return 1
        part = max(bisect_right(self.starts, offset) - 1, 0)
        inside = self.text[self.starts[part] : offset].count("\n")
        return _line(self.source, self.offsets[part]) + inside


def render(source: str, data: Mapping[str, Any], *, where: str) -> Rendered:
    """Return what the template yields with the data; raises ConfigError, which names `where` and the line."""
    return _Template(source, data, where).render()


@dataclass
class _Output:
    """Text, and where in the template it came from; knows whether it ends inside a JSON string."""

    parts: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    length: int = 0
    in_string: bool = False

    def literal(self, text: str, offset: int) -> None:
        quotes = sum(found == '"' for found in _QUOTES.findall(text))
        self.in_string ^= quotes % 2 == 1
        self._add(text, offset)

    def value(self, value: Any, offset: int) -> None:
        text = go_text(value)
        self._add(json.dumps(text, ensure_ascii=False)[1:-1] if self.in_string else text, offset)

    def _add(self, text: str, offset: int) -> None:
        if text:
            self.parts.append(text)
            self.starts.append(self.length)
            self.offsets.append(offset)
            self.length += len(text)


@dataclass
class _If:
    """An open `if`: whether it counts at all, its present part is written, one of its parts was, it had its else."""

    offset: int
    outer: bool
    active: bool
    done: bool
    last: bool = False


class _Template:
    def __init__(self, source: str, data: Mapping[str, Any], where: str) -> None:
        self._source = source
        self._data = data
        self._where = where
        self._at = 0
        self._output = _Output()
        self._open: list[_If] = []

    def render(self) -> Rendered:
        for is_action, text, offset in self._pieces():
            self._at = offset
            if not is_action:
                if self._active():
                    self._output.literal(text, offset)
                continue
            try:
                self._run(tokens_of(text))
            except ExpressionError as error:
                self._fail(str(error))
        if self._open:
            self._at = self._open[-1].offset
            self._fail("this if has no end")
        output = self._output
        return Rendered(text="".join(output.parts), source=self._source, starts=output.starts, offsets=output.offsets)

    def _active(self) -> bool:
        return not self._open or self._open[-1].active

    def _run(self, tokens: list[Token]) -> None:
        first, rest = (tokens[0], tokens[1:]) if tokens else (None, [])
        if first == _IF:
            outer = self._active()
            chosen = outer and truth(evaluate(rest, self._data))
            self._open.append(_If(self._at, outer=outer, active=chosen, done=chosen))
            if len(self._open) > MAX_DEPTH:
                raise ExpressionError(f"more than {MAX_DEPTH} ifs in one another")
        elif first == _ELSE:
            self._else(rest)
        elif first == _END:
            if not self._open or rest:
                raise ExpressionError("an end without an if")
            self._open.pop()
        elif first is not None and first[0] == "word" and first[1] in _KEYWORDS:
            raise ExpressionError(f"{first[1]} is not supported; there are values, functions and if")
        elif self._active():
            self._output.value(evaluate(tokens, self._data), self._at)

    def _else(self, rest: list[Token]) -> None:
        if not self._open or self._open[-1].last or (rest and rest[0] != _IF):
            raise ExpressionError("an else without an if, or with more than an if behind it")
        branch = self._open[-1]
        free = branch.outer and not branch.done
        branch.active = free and (not rest or truth(evaluate(rest[1:], self._data)))
        branch.done = branch.done or branch.active
        branch.last = not rest

    def _pieces(self) -> Iterator[tuple[bool, str, int]]:
        """Yield the template's pieces: whether it is an action, its text, and where it begins."""
        source, position, trim = self._source, 0, False
        while True:
            start = source.find("{{", position)
            text = source[position : start if start >= 0 else len(source)]
            begin = position + (len(text) - len(text.lstrip()) if trim else 0)
            text = text.lstrip() if trim else text
            inner = start + 2
            if start >= 0 and source.startswith("-", inner) and source[inner + 1 : inner + 2].isspace():
                text, inner = text.rstrip(), inner + 1
            yield False, text, begin
            if start < 0:
                return
            self._at = start
            found = _INSIDE_ACTION.match(source, inner)
            end = found.end() if found else inner
            if not source.startswith("}}", end):
                self._fail("this action is not closed by }}")
            action = source[inner:end]
            trim = action.endswith("-") and action[-2:-1].isspace()
            action = action[:-1].strip() if trim else action.strip()
            position = end + 2
            if not (action.startswith("/*") and action.endswith("*/")):
                yield True, action, start

    def _fail(self, text: str) -> NoReturn:
        raise ConfigError(one_line(text), path=f"{self._where}, line {_line(self._source, self._at)}")


def _line(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1
