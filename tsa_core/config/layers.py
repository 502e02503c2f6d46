"""Lays settings from several sources over each other, and reads those of the environment."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from tsa_core.config.environment import ENV_PREFIX


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings in which a later layer counts more; tables are merged, all else is replaced."""
    whole: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            below = whole.get(name)
            if isinstance(below, Mapping) and isinstance(value, Mapping):
                whole[name] = merged(below, value)
            else:
                whole[name] = value
    return whole


def from_environment(environ: Mapping[str, str], tables: Collection[str]) -> dict[str, Any]:
    """Return the settings that variables give: TSA_SERVER__PORT=80 is {"server": {"port": "80"}}.

    Capitals and small letters are the same. A value is a text; what is a list or a number, the models read from it.
    Where one variable gives a table and another something in it, the table counts, which is then no table.
    """
    layers = []
    for name, text in sorted(environ.items(), key=lambda each: each[0].count("__"), reverse=True):
        first, *rest = name.lower().removeprefix(ENV_PREFIX.lower()).split("__")
        if not name.upper().startswith(ENV_PREFIX) or first not in tables:
            continue
        value: Any = text
        for key in reversed(rest):
            value = {key: value}
        layers.append({first: value})
    return merged(*layers)
