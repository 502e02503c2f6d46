"""Types for the fields of settings: durations, secrets and object identifiers.

Secrets never stand in a configuration file unless the operator insists: `{ env = "NAME" }` and
`{ file = "PATH" }` say where they are, and pydantic's SecretStr keeps them out of listings and logs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, TypeAlias, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    PlainSerializer,
    SecretStr,
    StringConstraints,
    model_validator,
)

from tsa_core.api.errors import ConfigError, UnavailableError
from tsa_core.api.files import note_file, read_file
from tsa_core.protocol import der
from tsa_core.protocol.errors import EncodingError

_UNITS_US = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
}
_MAX_SECRET_OCTETS = 64 * 1024

_base_directory: ContextVar[Path] = ContextVar("base_directory", default=Path())


class SettingsTable(BaseModel):
    """Base of tables of settings: `true` is no number, for which pydantic takes it."""

    @model_validator(mode="before")
    @classmethod
    def _booleans_are_no_numbers(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        # The text is refused where it stands, in the words for a number.
        wrong = {name: str(value) for name, value in given.items() if isinstance(value, bool) and cls._is_number(name)}
        return {**given, **wrong} if wrong else given

    @classmethod
    def _is_number(cls, name: str) -> bool:
        kind = cls.model_fields[name].annotation if name in cls.model_fields else None
        kinds = {kind, *get_args(kind)}
        return bool not in kinds and any(isinstance(each, type) and issubclass(each, int | float) for each in kinds)


@contextmanager
def relative_to(directory: Path) -> Iterator[None]:
    """Resolve the relative paths of settings that are validated inside against `directory`."""
    token = _base_directory.set(directory)
    try:
        yield
    finally:
        _base_directory.reset(token)


def resolve_path(path: Path) -> Path:
    """Return `path` as settings mean it: relative to the configuration file's directory, `~` expanded.

    Raises ValueError for control characters, and for the home directory of a user that this machine does not have.
    """
    if any(character < " " for character in str(path)):
        raise ValueError("a path cannot have control characters")
    try:
        return _base_directory.get() / path.expanduser()
    except RuntimeError:
        raise ValueError(f"the home directory {path.parts[0]!r} is not known here; write the path from / on") from None


def _usable_path_text(value: object) -> object:
    """Return the value; raises ValueError for a text that names no file: pathlib takes an empty one for the folder."""
    if isinstance(value, str) and not value.strip():
        raise ValueError("must not be empty; leave the setting out, or write a path")
    return value


ConfigPath: TypeAlias = Annotated[Path, BeforeValidator(_usable_path_text), AfterValidator(resolve_path)]
"""A path, neither empty nor with control characters; a relative one is relative to the configuration file."""


def parse_duration(text: object) -> timedelta:
    """Return the duration that `text` means: `5s`, `250ms`, `3m`, `1h30m`; a bare number counts seconds.

    Raises ValueError for everything else, negative durations among it.
    """
    if isinstance(text, timedelta):
        return text
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise ValueError("a duration is a text such as '5s', '250ms' or '1h30m'")
    if not isinstance(text, str):
        if not 0 <= text <= 1e9:
            raise ValueError("a duration must be between 0 and 1,000,000,000 seconds")
        return timedelta(microseconds=round(text * 1_000_000))
    total, rest = Decimal(0), text.strip().lower()
    if not rest or len(rest) > 64:
        raise ValueError("a duration is a text such as '5s', '250ms' or '1h30m'")
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        number, rest = rest[:digits], rest[digits:]
        letters = len(rest) - len(rest.lstrip("abcdefghijklmnopqrstuvwxyz"))
        unit, rest = rest[:letters], rest[letters:]
        try:
            # A bare number is only clear when nothing stands before it.
            factor = _UNITS_US[unit] if unit or total else _UNITS_US["s"]
            total += Decimal(number) * factor
        except (KeyError, InvalidOperation):
            raise ValueError(f"{text!r} is not a duration; write '5s', '250ms' or '1h30m'") from None
    if total > 10**15:
        raise ValueError(f"{text!r} is longer than a duration can be here")
    return timedelta(microseconds=int(total))


def format_duration(value: timedelta) -> str:
    """Return the shortest exact text for a duration, `1500ms` for example; `parse_duration` reads it back."""
    microseconds = value // timedelta(microseconds=1)
    for unit in ("d", "h", "m", "s", "ms"):
        if microseconds and microseconds % _UNITS_US[unit] == 0:
            return f"{microseconds // _UNITS_US[unit]}{unit}"
    return f"{microseconds}us" if microseconds else "0s"


Duration: TypeAlias = Annotated[
    timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration, return_type=str)
]
"""A timedelta that is written `"5s"` in a configuration."""


def _resolve_secret(value: object) -> object:
    if not isinstance(value, dict):
        return value
    if set(value) == {"env"} and isinstance(value["env"], str):
        name = value["env"]
        if name not in os.environ:
            raise ValueError(f"the environment variable {name} is not set")
        return os.environ[name]
    if set(value) == {"file"} and isinstance(value["file"], str):
        _usable_path_text(value["file"])
        path = resolve_path(Path(value["file"]))
        note_file(path)
        try:
            return read_file(path, "secret", limit=_MAX_SECRET_OCTETS, private=True).decode("utf-8").rstrip("\r\n")
        except UnavailableError:
            raise
        except ConfigError as error:
            raise ValueError(str(error)) from None
        except UnicodeDecodeError:
            raise ValueError(f"the secret's file {path} is not UTF-8 text") from None
    raise ValueError('a secret is a text, { env = "NAME" } or { file = "PATH" }')


Secret: TypeAlias = Annotated[SecretStr, BeforeValidator(_resolve_secret)]
"""A SecretStr that may be given as text, `{ env = "NAME" }` or `{ file = "PATH" }`; resolved at start."""


def _check_oid(value: str) -> str:
    try:
        der.oid(value)
    except EncodingError as error:
        raise ValueError(f"{error}; write it in dotted form, 1.3.6.1.4.1.57264.2 for example") from None
    return value


def _oid_text(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


Oid: TypeAlias = Annotated[str, BeforeValidator(_oid_text), AfterValidator(_check_oid)]
"""An object identifier in dotted form."""


def split_text(value: object) -> object:
    """Let a list be given as one text, separated by commas, as environment variables need it."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


TextList: TypeAlias = Annotated[list[Annotated[str, StringConstraints(min_length=1)]], BeforeValidator(split_text)]
"""A list of texts, none of them empty, which an environment variable gives as one text with commas."""
