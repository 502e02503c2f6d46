"""What stands in the actions of a certificate template: values, calls of functions, pipelines."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from tsa_core.certs.maker.template_functions import FUNCTIONS, FunctionError

MAX_DEPTH: Final = 32
Token: TypeAlias = tuple[str, str]
"""Its kind (text, number, field, word, mark) and how it is written."""

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<text>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
      | (?P<number>-?\d{1,18}\b)
      | (?P<field>(?:\.[A-Za-z_]\w*)+)
      | (?P<word>[A-Za-z_]\w*)
      | (?P<mark>[()|])
    )""",
    re.VERBOSE,
)
_CONSTANTS: Final[Mapping[str, bool | None]] = {"true": True, "false": False, "nil": None}
_PIPE, _OPEN, _CLOSE = ("mark", "|"), ("mark", "("), ("mark", ")")


class ExpressionError(ValueError):
    """An action that cannot be evaluated; the text says what is wrong in it."""


def tokens_of(action: str) -> list[Token]:
    """Return an action's tokens; raises ExpressionError for what is none of them."""
    tokens, position = [], 0
    while action[position:].strip():
        found = _TOKEN.match(action, position)
        if found is None or found.lastgroup is None:
            rest = action[position:].split(maxsplit=1)[0]
            raise ExpressionError(f"{rest[:40]!r} is not supported; there are values, functions and if")
        tokens.append((found.lastgroup, found[found.lastgroup]))
        position = found.end()
    return tokens


def evaluate(tokens: Sequence[Token], data: Mapping[str, Any]) -> Any:
    """Return the value of a pipeline; raises ExpressionError."""
    reader = _Reader(tokens, data)
    value = reader.pipeline(0)
    if reader.left():
        raise ExpressionError("a bracket is closed that was not opened")
    return value


def paths(data: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield how a template names each value of the data."""
    for name, value in data.items():
        if isinstance(value, Mapping):
            yield from paths(value, f"{prefix}.{name}")
        else:
            yield f"{prefix}.{name}"


class _Reader:
    """Evaluates tokens from the first to the last."""

    def __init__(self, tokens: Sequence[Token], data: Mapping[str, Any]) -> None:
        self._tokens = list(reversed(tokens))
        self._data = data

    def left(self) -> bool:
        return bool(self._tokens)

    def pipeline(self, depth: int) -> Any:
        """Evaluate up to the bracket that closes, which stays, or to the end."""
        if depth > MAX_DEPTH:
            raise ExpressionError(f"more than {MAX_DEPTH} brackets in one another")
        piped: list[Any] = []
        while True:
            piped = [self._command(depth, piped)]
            if not self._tokens or self._tokens[-1] == _CLOSE:
                return piped[0]
            self._tokens.pop()

    def _command(self, depth: int, piped: list[Any]) -> Any:
        """Evaluate one command of a pipeline; what the one before it yielded is its last argument."""
        function: str | None = None
        values: list[Any] = []
        first = True
        while self._tokens and self._tokens[-1] not in {_PIPE, _CLOSE}:
            kind, word = self._tokens.pop()
            if first and kind == "word" and word not in _CONSTANTS:
                function = word
            elif (kind, word) == _OPEN:
                values.append(self.pipeline(depth + 1))
                if not self._tokens:
                    raise ExpressionError("a bracket is not closed")
                self._tokens.pop()
            else:
                values.append(self._operand(kind, word))
            first = False
        if first:
            raise ExpressionError("a value or a function is missing")
        values += piped
        if function is not None:
            return _call(function, values)
        if len(values) != 1:
            raise ExpressionError("a value takes no arguments; a function's name comes first")
        return values[0]

    def _operand(self, kind: str, word: str) -> Any:
        if kind == "number":
            return int(word)
        if kind == "text":
            try:
                return word[1:-1] if word[0] == "`" else json.loads(word)
            except ValueError:
                raise ExpressionError(f"the string {word} cannot be read") from None
        if kind == "word":
            if word not in _CONSTANTS:
                raise ExpressionError(f"{word} needs brackets here, if it is a function")
            return _CONSTANTS[word]
        value: Any = self._data
        for name in word.split(".")[1:]:
            if not isinstance(value, Mapping) or name not in value:
                raise ExpressionError(f"{word} is not known; there is {', '.join(paths(self._data))}")
            value = value[name]
        return value


def _call(name: str, arguments: Sequence[Any]) -> Any:
    if name not in FUNCTIONS:
        near = difflib.get_close_matches(name, FUNCTIONS, n=1)
        known = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(FUNCTIONS))}"
        raise ExpressionError(f"the function {name} is not known; {known}")
    try:
        return FUNCTIONS[name](*arguments)
    except FunctionError as error:
        raise ExpressionError(f"{name}: {error}") from None
    except TypeError:
        raise ExpressionError(f"{name} does not take {len(arguments)} argument(s) of this kind") from None
