"""What the settings of a plugin are, in words for people: from its pydantic model."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import PurePath
from typing import Any, Literal, NamedTuple, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel, SecretBytes, SecretStr

from tsa_core.api import Provider
from tsa_core.api.provider import fields_of_the_core

_LONGEST_DEFAULT = 24
_NAMES: tuple[tuple[type, str], ...] = (
    (bool, "boolean"),
    (int, "integer"),
    (float, "number"),
    (str, "text"),
    (SecretStr, "secret"),
    (timedelta, "duration"),
    (PurePath, "path"),
    (IPv4Address, "address"),
    (IPv6Address, "address"),
    (IPv4Network, "network"),
    (IPv6Network, "network"),
    (dict, "table"),
    (BaseModel, "table"),
)


Secrets: TypeAlias = Literal["", "itself", "values"]


class SettingDescription(NamedTuple):
    """One setting: its name, its type in words, its default as TOML writes it, None when it must be given."""

    name: str
    type: str
    default: str | None
    description: str
    secrets: Secrets = ""
    """Whether the value is a secret or a list of them, or a table whose values are."""

    @property
    def value(self) -> str:
        """Type and default for a narrow column."""
        if self.default is None:
            return f"{self.type}, required"
        return f"{self.type} = {self.default}" if 0 < len(self.default) <= _LONGEST_DEFAULT else self.type

    @property
    def meaning(self) -> str:
        """The description, and the default where it is too long for the other column."""
        if self.default is not None and len(self.default) > _LONGEST_DEFAULT:
            return f"{self.description}; default: {self.default}"
        return self.description


def describe_settings(provider: Provider[Any]) -> list[SettingDescription]:
    """Return the provider's settings; those that the core fills in are not among them."""
    return list(_describe_model(provider.options, fields_of_the_core(provider.options)))


def _describe_model(
    model: type[BaseModel], left_out: frozenset[str] = frozenset(), path: str = ""
) -> Iterator[SettingDescription]:
    """Describe the fields of a model, and below each table its own fields, `rules.networks` for example."""
    properties = model.model_json_schema(mode="serialization")["properties"]
    for name, field in model.model_fields.items():
        if name in left_out:
            continue
        # A field that is left out of dumps, because it may hold secrets, is not in the schema.
        default = None if field.is_required() else toml_text(properties.get(name, {}).get("default"))
        words = type_name(field.annotation), default, field.description or ""
        yield SettingDescription(path + name, *words, secrets=_secrets(field.annotation))
        for table in _tables(field.annotation):
            yield from _describe_model(table, path=f"{path}{name}.")


def _secrets(annotation: Any) -> Secrets:
    """Say where a value of this type holds secrets; those in the fields of a model are the fields' own."""
    arguments = get_args(annotation)
    found: set[Secrets] = {_secrets(argument) for argument in arguments}
    if isinstance(get_origin(annotation), type) and issubclass(get_origin(annotation), Mapping):
        return "values" if found != {""} else ""
    if isinstance(annotation, type) and issubclass(annotation, SecretStr | SecretBytes):
        return "itself"
    return "itself" if "itself" in found else "values" if "values" in found else ""


def _tables(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that a type is, or holds."""
    if arguments := get_args(annotation):
        for argument in arguments:
            yield from _tables(argument)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation


def type_name(annotation: Any) -> str:
    """Return a type as operators call it: choices by their values, `list of path`, None left out."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(toml_text(choice) for choice in arguments)
    if origin in {Union, types.UnionType}:
        parts = [type_name(argument) for argument in arguments if argument is not type(None)]
        return " | ".join(dict.fromkeys(parts))
    if origin in {list, tuple, set, frozenset}:
        return f"list of {type_name(arguments[0])}" if arguments else "list"
    if hasattr(annotation, "__metadata__"):  # Annotated
        return type_name(arguments[0])
    kind = origin or annotation
    if isinstance(kind, type):
        for known, name in _NAMES:
            if issubclass(kind, known):
                return name
    return str(getattr(annotation, "__name__", annotation))


def toml_text(value: Any) -> str:
    """Return a value as TOML writes it; empty for none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return f"[{', '.join(map(toml_text, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {toml_text(inner)}' for key, inner in value.items())} }}" if value else "{}"
    return str(value)
