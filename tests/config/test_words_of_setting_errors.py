"""What is wrong with a setting is said in our words, whatever stands there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from tsa_core.api.setting_errors import setting_error
from tsa_core.config.load import Settings
from tsa_core.host import PluginHost
from tsa_core.host.kinds import KINDS

WRONG: tuple[Any, ...] = (
    *("", " ", "x", "x" * 1000, "9" * 5000, "1e999", "http://[", "-1s", "\x00", "nan"),
    *(-1, 0, 10**30, 1.5, float("nan"), float("inf"), True, date(2026, 1, 1)),
    *([], [1], [""], ["x", "x"], [[]], [{"x": 1}], {}, {"a": 1}, {"a": {"b": []}}),
)
"""What TOML and variables can give."""
THEIRS = re.compile(
    r"(Input|String|Value|List|Tuple|Dictionary|Extra inputs|Field|Keys) (should|are|required)|must be a valid|"
    r"[Uu]nable to parse|could not|finite number|must be an? (instance|finite)"
)


def models(kind: Any) -> Iterator[type[BaseModel]]:
    """The models in a type, and in their fields."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
        for field in kind.model_fields.values():
            yield from models(field.annotation)
    else:
        for part in get_args(kind):
            yield from models(part)


def of_plugins() -> Iterator[type[BaseModel]]:
    host = PluginHost()
    for name in host.names():
        host.load(name)
    for kind in KINDS:
        for provider in host.providers(kind).values():
            yield from models(provider.options)


def complaints(model: type[BaseModel]) -> Iterator[str]:
    """Everything that is said when one field of a model is wrong."""
    for name, field in model.model_fields.items():
        for value in WRONG:
            try:
                model.model_validate({field.alias or name: value})
            except ValidationError as error:
                for problem in error.errors(include_url=False, include_input=False):
                    if problem["type"] not in {"bytes_type", "missing"}:  # the core's own, and what only models say
                        yield f"{model.__name__}.{name}: {setting_error(problem)}"


def theirs(found: Iterator[str]) -> set[str]:
    return {each for each in found if THEIRS.search(each)}


def test_of_the_core() -> None:
    assert theirs(each for model in models(Settings) for each in complaints(model)) == set()


def test_of_plugins() -> None:
    assert theirs(each for model in of_plugins() for each in complaints(model)) == set()
